#!/bin/sh
# Writes as Claude Code does, one step for each line that comes on its standard input: claude.sh ROOT SESSION CWD
root=$1 session=$2 cwd=$3
file="$root/projects/-srv-demo/$session.jsonl"
mkdir -p "$root/sessions" "${file%/*}"
began=$(sed 's/.*) //' "/proc/$$/stat" 2>/dev/null | cut -d' ' -f20)
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
live() { # STATUS: replaced as a whole, as the tool does
  printf '{"pid":%s,"sessionId":"%s","cwd":"%s","startedAt":%s000,"procStart":"%s","status":"%s","updatedAt":%s}' \
    "$$" "$session" "$cwd" "$(date +%s)" "$began" "$1" "$(date +%s%3N)" >"$root/sessions/$$.json"
}
n=0
say() { # TYPE REST
  n=$((n + 1))
  printf '{"type":"%s","uuid":"%s-%s","sessionId":"%s","timestamp":"%s","cwd":"%s","gitBranch":"main","version":"2.1.200",%s}\n' \
    "$1" "$session" "$n" "$session" "$(now)" "$cwd" "$2" >>"$file"
}
prompt() { say user "\"message\":{\"role\":\"user\",\"content\":\"$1\"}"; }
answer() { # STOP_REASON BLOCK
  say assistant "\"message\":{\"id\":\"m$n\",\"role\":\"assistant\",\"stop_reason\":\"$1\",\"content\":[$2],\"usage\":{\"input_tokens\":5,\"output_tokens\":9}}"
}
todos() { # STATUS
  answer tool_use "{\"type\":\"tool_use\",\"id\":\"t$n\",\"name\":\"TodoWrite\",\"input\":{\"todos\":[{\"content\":\"mend the roof\",\"status\":\"$1\",\"activeForm\":\"mending\"}]}}"
}
live busy
while read -r step; do
  case $step in
  prompt) live busy && prompt "please mend the roof" ;;
  todos) todos in_progress ;;
  done) todos completed && answer end_turn '{"type":"text","text":"mended"}' && live idle ;;
  torn) printf '{"type":"user","uuid":"torn' >>"$file" ;;
  rest) printf '","sessionId":"%s","message":{"role":"user","content":"whole now"}}\n' "$session" >>"$file" ;;
  line) answer tool_use '{"type":"tool_use","id":"x","name":"Bash","input":{}}' ;;
  leave) rm -f "$root/sessions/$$.json" && echo leave && exit 0 ;;
  esac
  echo "$step"
done
