pid=$(cat $state/pid)
goal "the process of shop is the same as before" sh -c "kill -0 $pid && [ \"\$(minictr inspect -f '{{.State.Pid}}' shop)\" = $pid ]"
goal "it has its default route" sh -c "nsenter -t $pid -n ip route show default | grep -q -w 'via 172.17.0.1'"
goal "lan gets the page" fetches lan http://192.0.2.10:8080 "the shop"
