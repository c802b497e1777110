fresh_host
for row in "lan eth0 192.0.2.10 192.0.2.20" "dmz dmz0 10.9.0.1 10.9.0.2"; do
	set -- $row
	namespace $1
	cable $1 $2
	ip addr add $3/24 dev $2
	ip -n $1 addr add $4/24 dev eth0
	ip -n $1 link set lo up
	ip -n $1 route add default via $3
done
server dmz 80 "secret"
echo 1 >/proc/sys/net/ipv4/ip_forward
nft -f - <<END
table inet guard {
	chain forward {
		type filter hook forward priority 0; policy drop;
		ct state established,related accept
		iifname dmz0 accept comment "dmz may ask others"
	}
}
END
minictr pull minictr/base >/dev/null
minictr run -d --name web -p 8080:80 minictr/base httpd -p 80 >/dev/null 2>&1
