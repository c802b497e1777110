# Only port 80, and so no answers.
ip netns exec web nft add table inet own
ip netns exec web nft 'add chain inet own in { type filter hook input priority 0; policy drop; }'
ip netns exec web nft add rule inet own in iifname lo accept
ip netns exec web nft add rule inet own in tcp dport 80 accept
