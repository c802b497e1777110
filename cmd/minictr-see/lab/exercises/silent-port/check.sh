address() { minictr inspect -f '{{.NetworkSettings.IPAddress}}' web; }
goal "a container web runs" sh -c "minictr inspect -f '{{.State.Running}}' web | grep -q true"
goal "its port 80 is published at port 8080 of every address of the host" sh -c "minictr port web | grep -q '^80/tcp -> 0.0.0.0:8080'"
goal "something listens on port 80 at all of its addresses" sh -c "minictr exec web ss -Hltn | grep -q -e '0.0.0.0:80 ' -e '\*:80 ' -e '\[::\]:80 ' -e '$(address 2>/dev/null):80 '"
goal "lan gets the page from the container" fetches lan http://192.0.2.10:8080 "I am $(address 2>/dev/null || echo nobody):80, you are 192.0.2.20"
