ip netns exec web nft -f - <<END
table inet own {
	chain in {
		type filter hook input priority 0; policy drop;
		# Answers to what web has begun, and all that follows what was accepted once.
		ct state established,related accept
		# A machine talks to itself by lo.
		iifname lo accept
		# What anybody may begin.
		tcp dport 80 accept
	}
}
END
