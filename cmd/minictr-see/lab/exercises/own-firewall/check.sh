goal "client reaches port 80 of web" fetches client http://10.0.0.2 "welcome"
goal "client does not reach port 8080" not fetch client http://10.0.0.2:8080
another() { background ip netns exec web $base nc -l -p 9999; listening web 9999; }
another
goal "nor any other" not in_ns client $base nc -z -w 1 10.0.0.2 9999
settled
in_ns web $base nc -z -w 1 127.0.0.1 9999 || true # it listens no more
goal "both servers run, and web reaches them itself" sh -c "ip netns exec web $base wget -qO- -T 1 http://127.0.0.1:8080 | grep -q administrators && ip netns exec web $base wget -qO- -T 1 http://127.0.0.1 | grep -q welcome"
goal "web can ask others" fetches web http://10.0.0.3 "the client"
goal "the host and client have no rules" sh -c "[ -z \"\$(nft list ruleset)\" ] && [ -z \"\$(ip netns exec client nft list ruleset)\" ]"
