# It answers, by the host itself.
ip addr add 198.51.100.10/32 dev lo
