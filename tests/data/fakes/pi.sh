#!/bin/sh
# Writes as pi does, one step for each line that comes on its standard input: pi.sh ROOT SESSION CWD
# Nothing is on disk until the first answer; then everything so far comes at once, and afterwards one entry at a time.
root=$1 session=$2 cwd=$3
dir="$root/sessions/--$(printf %s "${cwd#/}" | tr / -)--"
file="$dir/$(date -u +%Y-%m-%dT%H-%M-%S-%3NZ)_$session.jsonl"
now() { date -u +%Y-%m-%dT%H:%M:%S.%3NZ; }
n=0
entry() { # MESSAGE
  n=$((n + 1))
  printf '{"type":"message","id":"%08x","parentId":null,"timestamp":"%s","message":{%s}}\n' "$n" "$(now)" "$1"
}
user='"role":"user","content":[{"type":"text","text":"say hello"}],"timestamp":1'
answer() { printf '"role":"assistant","content":[{"type":"text","text":"hello"}],"usage":{"input":5,"output":9},"stopReason":"%s","timestamp":2' "$1"; }
while read -r step; do
  case $step in
  prompt)
    mkdir -p "$dir"
    {
      printf '{"type":"session","version":3,"id":"%s","timestamp":"%s","cwd":"%s"}\n' "$session" "$(now)" "$cwd"
      entry "$user"
      entry "$(answer toolUse)"
    } >>"$file"
    ;;
  line) entry "$(answer toolUse)" >>"$file" ;;
  done) entry "$(answer stop)" >>"$file" ;;
  esac
  echo "$step"
done
