fresh_host
namespace lan
cable lan eth0
ip addr add 192.0.2.10/24 dev eth0
ip -n lan addr add 192.0.2.20/24 dev eth0
ip -n lan link set lo up
ip route add default via 192.0.2.20
minictr pull minictr/base >/dev/null
minictr run -d --name web -p 8080:80 minictr/base httpd -p 127.0.0.1:80 >/dev/null
