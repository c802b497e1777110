fresh_host
namespace lan
cable lan eth0
ip addr add 192.0.2.10/24 dev eth0
ip -n lan addr add 192.0.2.20/24 dev eth0
ip -n lan link set lo up
minictr pull minictr/base >/dev/null
minictr run -d --name shop -p 8080:80 minictr/base httpd -p 80 -m "the shop" >/dev/null
minictr inspect -f '{{.State.Pid}}' shop >$state/pid
ip -n shop route del default
rm /run/netns/shop
