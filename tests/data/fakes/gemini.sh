#!/bin/sh
# Writes as Gemini CLI does, one step for each line that comes on its standard input: gemini.sh ROOT SESSION CWD
root=$1 session=$2
dir="$root/tmp/srv-demo/chats"
file="$dir/session-$(date -u +%Y-%m-%dT%H-%M)-$session.jsonl"
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
n=0
say() { printf '{%s,"timestamp":"%s"}\n{"$set":{"lastUpdated":"%s"}}\n' "$1" "$(now)" "$(now)" >>"$file"; }
answer() { # REST
  n=$((n + 1))
  say "\"id\":\"g$n\",\"type\":\"gemini\",\"content\":\"\",\"tokens\":{\"input\":5,\"output\":9}$1"
}
todos() { # STATUS
  answer ",\"toolCalls\":[{\"id\":\"t$n\",\"name\":\"write_todos\",\"args\":{\"todos\":[{\"description\":\"plant the tree\",\"status\":\"$1\"}]},\"status\":\"success\"}]"
}
while read -r step; do
  case $step in
  prompt)
    mkdir -p "$dir"
    printf '{"sessionId":"%s","projectHash":"00","startTime":"%s","lastUpdated":"%s","kind":"main"}\n' "$session" "$(now)" "$(now)" >>"$file"
    say '"id":"u1","type":"user","content":[{"text":"plant a tree please"}]'
    ;;
  todos) todos in_progress ;;
  line) answer "" ;;
  done) todos completed ;;
  esac
  echo "$step"
done
