# The container's network, and nothing else of it: the command is the host's, and root is, too.
nsenter -t "$(minictr inspect -f '{{.State.Pid}}' shop)" -n ip route add default via 172.17.0.1
