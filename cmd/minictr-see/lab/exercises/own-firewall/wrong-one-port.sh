# One port closed, all others open.
ip netns exec web nft add table inet own
ip netns exec web nft 'add chain inet own in { type filter hook input priority 0; }'
ip netns exec web nft add rule inet own in iifname != lo tcp dport 8080 drop
