#!/bin/sh
# Writes as OpenClaw does, one step for each line that comes on its standard input: openclaw.sh ROOT SESSION CWD
root=$1 session=$2 cwd=$3
dir="$root/agents/cleo/sessions"
file="$dir/$session.jsonl"
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
n=0
entry() { # MESSAGE
  n=$((n + 1))
  printf '{"type":"message","id":"%08x","parentId":null,"timestamp":"%s","message":{%s}}\n' "$n" "$(now)" "$1" >>"$file"
}
answer() { entry "\"role\":\"assistant\",\"content\":[{\"type\":\"text\",\"text\":\"fed\"}],\"usage\":{\"input\":5,\"output\":9},\"stopReason\":\"$1\",\"timestamp\":2"; }
index() { # rewritten as a whole, as often as the tool likes
  printf '{"agent:cleo:main":{"sessionId":"%s","updatedAt":%s}}' "$session" "$(date +%s%3N)" >"$dir/sessions.json.tmp" && mv "$dir/sessions.json.tmp" "$dir/sessions.json"
}
while read -r step; do
  case $step in
  prompt)
    mkdir -p "$dir"
    printf '{"type":"session","version":3,"id":"%s","timestamp":"%s","cwd":"%s"}\n' "$session" "$(now)" "$cwd" >>"$file"
    entry '"role":"user","content":[{"type":"text","text":"feed the cat"}],"timestamp":1'
    answer toolUse && index
    ;;
  line) answer toolUse && index ;;
  done) answer stop && index ;;
  esac
  echo "$step"
done
