# Not permitted.
minictr exec shop ip route add default via 172.17.0.1 || true
