# The lo of the host, which was on before.
ip link set lo up
