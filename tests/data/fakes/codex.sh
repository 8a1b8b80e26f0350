#!/bin/sh
# Writes as Codex does, one step for each line that comes on its standard input: codex.sh ROOT SESSION CWD
root=$1 session=$2 cwd=$3
dir="$root/sessions/$(date +%Y/%m/%d)"
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
mkdir -p "$dir"
# Kept open for as long as it runs.
exec 3>>"$dir/rollout-$(date +%Y-%m-%dT%H-%M-%S)-$session.jsonl"
say() { printf '{"timestamp":"%s","type":"%s","payload":{%s}}\n' "$(now)" "$1" "$2" >&3; }
plan() { # STATUS: what it means to do, and that the call went well
  say response_item "\"type\":\"function_call\",\"name\":\"update_plan\",\"arguments\":\"{\\\"plan\\\":[{\\\"step\\\":\\\"read the code\\\",\\\"status\\\":\\\"$1\\\"}]}\",\"call_id\":\"c-$1\""
  say response_item "\"type\":\"function_call_output\",\"call_id\":\"c-$1\",\"output\":\"Plan updated\""
}
while read -r step; do
  case $step in
  prompt)
    say session_meta "\"id\":\"$session\",\"timestamp\":\"$(now)\",\"cwd\":\"$cwd\",\"originator\":\"codex_cli_rs\",\"cli_version\":\"0.104.0\",\"source\":\"cli\",\"git\":{\"branch\":\"main\"}"
    say event_msg '"type":"task_started","turn_id":"1"'
    say event_msg '"type":"user_message","message":"read the code please"'
    ;;
  line) say response_item '"type":"message","role":"assistant","content":[{"type":"output_text","text":"on it"}]' ;;
  todos) plan in_progress ;;
  name) printf '{"id":"%s","thread_name":"Reading day","updated_at":"%s"}\n' "$session" "$(now)" >>"$root/session_index.jsonl" ;;
  done) plan completed && say event_msg '"type":"task_complete","turn_id":"1","last_agent_message":"read"' ;;
  esac
  echo "$step"
done
