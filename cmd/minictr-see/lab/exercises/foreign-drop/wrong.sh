# An accept in another table, before guard: guard is asked all the same.
nft add table inet mine
nft 'add chain inet mine forward { type filter hook forward priority -10; policy accept; }'
nft add rule inet mine forward ct status dnat accept
