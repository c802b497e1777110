package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/minictr/minictr/test/kernel"
)

// links builds the program, without the race detector, which takes a tenth of a
// second to start, and makes a directory with a link for each command.
func links(t *testing.T) string {
	t.Helper()
	kernel.RequireCommand(t, "go")
	program, dir := t.TempDir()+"/minictr-base", t.TempDir()
	build := exec.Command("go", "build", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build minictr-base: %v\n%s", err, out)
	}
	for _, a := range applets() {
		if err := os.Symlink(program, filepath.Join(dir, a.Name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A ran is what a command did.
type ran struct {
	out  string
	code int
}

// script runs a script in a directory made anew, in which a few files lie.
func script(t *testing.T, path string, shell []string, text string) ran {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"fruit": "pear 3\napple 10\nfig 1\napple 2\n", "words": "one two\nthree\n\n\nfour five six\n", "d/sub/deep": "deep\n", "d/top": "top\nHello hello\n",
		"csv": "a:b:c\nd:e\nf\n", "none": "",
	}
	for name, content := range files {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := exec.Command(shell[0], append(shell[1:], "-c", text)...)
	c.Dir = dir
	c.Env = []string{"PATH=" + path, "LC_ALL=C", "TZ=UTC", "HOME=/"}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if errs.Len() > 0 {
		t.Logf("%s: %s", shell[0], errs.String())
	}
	return ran{out.String(), c.ProcessState.ExitCode()}
}

// Each line does the same in our shell with our commands as in the machine's
// shell with the machine's: the same output, the same exit code.
var likeTheMachine = []string{
	// The language.
	`x=1; x=$((x+2)); echo $x "${x}y" ${z:-none} ${x#3}`,
	`f() { echo "f $# $1"; return 4; }; f a b; echo $?`,
	`for i in 1 2 3; do [ $i = 2 ] && continue; echo $i; done`,
	`case abc in a*) echo yes;; *) echo no;; esac`,
	`i=0; while [ $i -lt 3 ]; do i=$((i+1)); done; echo $i`,
	`(exit 3); echo $?; false || echo or; true && echo and; ! true; echo $?`,
	`set -e; false; echo not here`, `(set -u; echo $nope; echo not here) 2>/dev/null || echo failed`,
	`echo a | { read x; echo "[$x]"; }`, `cat <<E
a $((1+1))
E`,
	`nosuchcommand; echo $?`, `./fruit; echo $?`, `./d; echo $?`, `exec ./nothing`,
	`sh -c 'kill -9 $$'; echo $?`, `sh -c 'kill -TERM $$'; echo $?`, `exit 7`,
	`trap 'echo bye' EXIT; echo hi`, `trap 'echo got' USR1; kill -USR1 $$; sleep 0.1; echo on`,
	`trap '' INT; sh -c 'kill -INT $$; echo survived'`,
	`sleep 0.05 & wait $!; echo $?`, `sh -c 'exit 5' & wait $!; echo $?`, `{ sleep 0.05; exit 6; } & wait $!; echo $?`,
	`sleep 10 & kill $!; wait $!; echo $?`, `x=5; f() { echo "$x $1"; }; { f "a b"; } & wait`,
	`umask 027; umask; touch n; ls -l n | cut -c1-10`, `ulimit -n 50; ulimit -n; sh -c 'ulimit -n'`,
	`exec sh -c 'echo $0' name`, `set -- a "b c"; for i in "$@"; do echo "$i"; done; shift; echo $#`,
	`echo 'echo $0 $1' > s; sh ./s x`, `printf '#!/bin/sh\necho script $1\n' > s; chmod +x s; ./s a`,
	`printf 'echo plain\n' > s; chmod 755 s; ./s`, `cd d && pwd | sed 's,.*/,,'`, `eval 'echo $((2*3))'`, `A=b env | grep ^A=`,
	`echo out; echo err >&2`, `ls nothing 2>/dev/null; echo $?`, `x=$(echo a; exit 3); echo $? $x`, `command -v nosuch || echo missing`,
	// Text.
	`cat fruit csv; cat -n words`, `head -n 2 fruit; head -c 5 fruit; head -n -1 fruit; head -2 fruit`, `tail -n 2 fruit; tail -n +3 fruit; tail -c 4 fruit; tail -1 fruit`,
	`wc -l < fruit; wc -w words; wc -c fruit csv`, `sort fruit; sort -r fruit; sort -nrk2 fruit; sort -k1,1 -k2n fruit; sort -u -k1,1 fruit; sort -t: -k2 csv`,
	`cut -d' ' -f1 fruit | sort | uniq -c | sort -rn; cut -d' ' -f1 fruit | sort | uniq -d`, `cut -c1-3 fruit; cut -d: -f2- csv; cut -d: -f2 -s csv; cut -b2 fruit`,
	`tr a-z A-Z < fruit; tr -d aeiou < fruit; tr -s 'p' < fruit; tr -cd '0-9\n' < fruit; echo hi | tr '[:lower:]' '[:upper:]'`,
	`seq 3; seq 2 5; seq 1 2 7; seq 5 -2 1; seq -s, 3; seq -w 8 11`, `grep apple fruit; grep -c apple fruit; grep -v apple fruit; grep -n fig fruit; grep -o '[0-9]*' fruit; grep zzz fruit; echo $?`,
	`grep -rinE 'hel+o|deep' d | sort; grep -l top d/top fruit; grep -w hello d/top; grep -x fig fruit; grep -q fig fruit; echo $?; grep -A1 pear fruit; grep -e pear -e fig fruit`,
	`grep '^a\|^f' fruit; grep 'p\{2\}' fruit; grep -F 'a:b' csv; grep -E '^(a|f)' fruit; grep -h top d/top fruit; grep -B1 fig fruit`,
	`sed 's/a/X/' fruit; sed -n '2p' fruit; sed '1d;3d' fruit; sed -n '/fig/,$p' fruit; sed 's/\(.*\) \(.*\)/\2 \1/' fruit; sed -E 's/([a-z]+) ([0-9]+)/\2-\1/g' fruit`,
	`sed -e '/^$/d' -e 's/o/0/g' words; sed '$!N;s/\n/+/' fruit; sed -n '$=' fruit; sed 'y/abc/xyz/' fruit; sed '/fig/a\after' fruit; sed '2q' fruit; sed 's,e,&&,2' fruit`,
	`sed -i 's/pear/plum/' fruit; cat fruit; sed -n '/apple/{s/apple/A/;p}' fruit; sed ':a;N;$!ba;s/\n/,/g' fruit; sed '1~2d' fruit; sed '0,/apple/d' fruit`,
	`awk '{print $2, $1}' fruit; awk -F: '{print NF}' csv; awk '{s+=$2} END {print s}' fruit; awk -v n=3 'NR==n' fruit; awk 'BEGIN {printf "%5.2f\n", 3.14159}'`,
	`printf '%s-%d\n' a 1 b 2; printf '%5s|%-5s|%05d|%x|%o|%c\n' a b 42 255 8 xyz; printf 'a\tb\n'; printf '%b' 'x\ny\n'; printf '%%\n'; printf '%.3s|\n' abcdef`,
	`expr 2 + 3 \* 4; expr abc : 'a\(.\)'; expr length hello; expr 3 \> 2; expr 0; echo $?; expr substr hello 2 3`,
	`test -f fruit; echo $?; test -d fruit; echo $?; test -s none; echo $?; [ a = a -a b != c ]; echo $?; [ ! -e x ]; echo $?; [ 3 -ge 2 ]; echo $?`,
	`echo hello | base64; echo aGVsbG8K | base64 -d; sha256sum fruit; md5sum fruit; sha256sum fruit > s; sha256sum -c s`,
	`echo x | tee a b; cat a b; echo y | tee -a a >/dev/null; cat a`, `paste -d, fruit csv; paste -s -d+ csv`, `tac fruit; rev csv; od -c csv; cmp fruit csv; echo $?`,
	// Files.
	`mkdir -p x/y/z; rmdir x/y/z; ls x; rm -r x; ls x 2>/dev/null; echo $?`, `ls; ls -a d; ls -1 d; ls -d d; ls -R d; ls -F d; ls -r`,
	`touch -d '2020-01-02 03:04' o; ls -l o | cut -d' ' -f1,2,5-`, `cp fruit c; cmp fruit c; cp -r d e; ls -R e; cp -a d f; ls f; cp fruit csv e; ls e; cp d x 2>/dev/null; echo $?`,
	`mv fruit g; ls; mv g csv d; ls d; mv nothing x 2>/dev/null; echo $?`, `rm -f nothing; echo $?; rm nothing 2>/dev/null; echo $?; rm d 2>/dev/null; echo $?; rm -rf d; ls`,
	`ln -s fruit l; readlink l; cat l; ln fruit h; stat -c %h fruit; ln -sf csv l; readlink l; stat -c '%n %s %F' l fruit d`,
	`chmod 640 fruit; stat -c %a fruit; chmod u+x,g-r,o=r fruit; stat -c %a fruit; chmod -R go-rwx d; stat -c %a d/top; chmod a+X d; stat -c %a d; chmod +t d; stat -c '%a %A' d`,
	`find . -name '*p' | sort; find . -type d | sort; find d -maxdepth 1 -type f; find . -name deep -exec echo got {} \;; find . -type f -exec echo {} + | wc -w; find . -empty; find d ! -name top -type f; find . \( -name top -o -name csv \) | sort`,
	`find . -size -1k -type f; find . -newer fruit -name zzz; find d -depth | tail -1; find . -path './d/*' -prune -o -type f -print | sort; find . -name top -delete; ls d; find . -iname FRUIT -printf '%f %s %m\n'`,
	`seq 5 | xargs -n2 echo; seq 3 | xargs -I{} echo '<{}>'; printf 'a b\0c\0' | xargs -0 -n1 echo; echo | xargs -r echo no; seq 2 | xargs sh -c 'exit 1'; echo $?`,
	`tar cf a.tar d; tar tf a.tar | sort; mkdir o; tar xf a.tar -C o; ls -R o; tar czf a.tgz fruit; tar tzf a.tgz; tar xzf a.tgz -O; tar cf - fruit | tar tf -`,
	`gzip fruit; ls f*; zcat fruit.gz | tail -1; gunzip fruit.gz; cat fruit; gzip -c csv | gzip -d`, `basename /a/b.c .c; basename /a/b/; dirname /a/b; dirname a; dirname /; basename -a x/y z`,
	`dd if=fruit bs=4 count=2 skip=1 2>/dev/null; truncate -s 5 fruit; wc -c < fruit`, `realpath . | sed 's,.*/,,' | wc -l; readlink -f nothing | sed 's,.*/,,'; realpath -e nothing 2>/dev/null; echo $?`,
	`mkfifo p; test -p p; echo $?; (echo through > p &); cat p`, `t=$(mktemp -d ./tXXXXXX); test -d "$t"; echo $?; mktemp -u /tmp/aXXXXXX | wc -c`, `du -s none; mkdir -m 700 m; stat -c %a m`,
	// The system.
	`id -u; id -un; whoami; uname -s; uname -m; hostname; nproc`, `date -u -d @0; date -u -d '2020-02-03 04:05:06' '+%Y-%m-%d %H:%M:%S %j %a %b %e %s'; date -u -d @86400 +%F`,
	`env -i A=1 B=2 env | sort; env -u A printenv A; echo $?`, `timeout 0.1 sleep 5; echo $?; timeout 5 true; echo $?; timeout 5 sh -c 'trap "" TERM; true'`, `kill -l 15; kill -0 $$; echo $?`,
	`ps -o pid= -p $$ | wc -l; which nosuch; echo $?`, `true; echo $?; false; echo $?; yes | head -n 2; sleep 0; echo done`,
}

func TestLikeTheMachine(t *testing.T) {
	kernel.RequireCommand(t, "dash", "awk", "find", "tar", "gzip")
	ours := links(t)
	for _, text := range likeTheMachine {
		name, _, _ := strings.Cut(text, ";")
		t.Run(name, func(t *testing.T) {
			want := script(t, "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", []string{"/bin/dash"}, text)
			got := script(t, ours, []string{ours + "/sh"}, text)
			if got != want {
				t.Errorf("%s\nours, exit code %d:\n%s\nthe machine's, exit code %d:\n%s", text, got.code, got.out, want.code, want.out)
			}
		})
	}
}
