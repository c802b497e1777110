goal "the container web runs" sh -c "minictr inspect -f '{{.State.Running}}' web | grep -q true"
goal "lan gets its page" fetches lan http://192.0.2.10:8080 "you are 192.0.2.20"
goal "the table guard drops what it does not know" sh -c "nft list chain inet guard forward | grep -q 'policy drop'"
goal "the host reaches dmz" fetches - http://10.9.0.2 "secret"
goal "lan does not" not fetch lan http://10.9.0.2
goal "dmz may ask others, as before" sh -c "nft list chain inet guard forward | grep -q 'dmz0.* accept' && nft list chain inet guard forward | grep -q 'established'"
