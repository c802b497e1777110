# The symptom.
ip link del veth-old
