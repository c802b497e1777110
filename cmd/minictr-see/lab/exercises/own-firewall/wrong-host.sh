# Rules of the host, which a switch does not ask.
nft add table inet own
nft 'add chain inet own in { type filter hook input priority 0; policy drop; }'
nft 'add chain inet own forward { type filter hook forward priority 0; policy drop; }'
nft add rule inet own forward tcp dport 80 accept
