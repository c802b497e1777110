# Works, for dmz too.
nft 'chain inet guard forward { policy accept; }'
