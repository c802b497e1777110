# The process that is in it, alone; and then the symptom.
kill "$(pgrep -f -x '.*minictr-base sleep 86403')"
umount /run/backup/net
