# Arithmetic, arrays, patterns and functions of the shell; no process but this one.
declare -A count
seed=12345
for ((i = 0; i < 12000; i++)); do
    ((seed = (seed * 1103515245 + 12345) & 0x7fffffff))
    key=w$((seed >> 8 & 63))
    ((count[$key] += 1))
done
for key in w1 w2 w33; do echo "$key ${count[$key]}"; done

fib() {
    if (($1 < 2)); then REPLY=$1; return; fi
    fib $(($1 - 1))
    local first=$REPLY
    fib $(($1 - 2))
    ((REPLY += first))
}
fib 15
echo "$REPLY"

text=
for ((i = 0; i < 3000; i++)); do text+="$((i * 7 % 10))"; done
shorter=${text//74/}
echo "${#text} ${#shorter}"
case $text in 0741*852*) echo matched ;; *) echo not ;; esac
