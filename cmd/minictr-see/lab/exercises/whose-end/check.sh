is_on() { ip -o link show dev "$(host_end "$1" eth0)" | grep -q '[<,]UP[,>]'; }
is_off() { e=$(host_end "$1" eth0) && ip -o link show dev "$e" | grep -q -v '[<,]UP[,>]'; }
goal "the host's end of bank's cable is off" is_off bank
for n in shop mail game news; do goal "that of $n is on" is_on $n; done
goal "nobody has touched bank's own end" sh -c "ip -n bank -o link show eth0 | grep -q '[<,]UP[,>]'"
