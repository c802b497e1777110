package applet

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// Bits of a mode as chmod(2) has them, beside the nine of the permissions.
const (
	setuid = 0o4000
	setgid = 0o2000
	sticky = 0o1000
)

// Bits returns the twelve bits of a mode as chmod(2) has them.
func Bits(m fs.FileMode) uint32 {
	bits := uint32(m.Perm())
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: setuid, fs.ModeSetgid: setgid, fs.ModeSticky: sticky} {
		if m&flag != 0 {
			bits |= bit
		}
	}
	return bits
}

// FileMode is the reverse of Bits.
func FileMode(bits uint32) fs.FileMode {
	m := fs.FileMode(bits & 0o777)
	for flag, bit := range map[fs.FileMode]uint32{fs.ModeSetuid: setuid, fs.ModeSetgid: setgid, fs.ModeSticky: sticky} {
		if bits&bit != 0 {
			m |= flag
		}
	}
	return m
}

// ParseMode reads the mode of chmod(1), which is octal or like "u+x,go=r", and
// returns what it makes of the bits of old: the twelve of chmod(2). umask hides
// bits from a clause without "ugoa".
func ParseMode(text string, old fs.FileMode, umask uint32) (uint32, error) {
	bits := Bits(old)
	if n, err := strconv.ParseUint(text, 8, 12); err == nil {
		return uint32(n), nil
	}
	for clause := range strings.SplitSeq(text, ",") {
		i := strings.IndexAny(clause, "+-=")
		if i < 0 || strings.Trim(clause[:i], "ugoa") != "" {
			return 0, UsageError(fmt.Sprintf("mode %q makes no sense", text))
		}
		who := whoMask(clause[:i], umask)
		for i < len(clause) {
			op := clause[i]
			end := i + 1
			for end < len(clause) && !strings.ContainsRune("+-=", rune(clause[end])) {
				end++
			}
			perm, err := permBits(clause[i+1:end], bits, old.IsDir())
			if err != nil {
				return 0, UsageError(fmt.Sprintf("mode %q: %v", text, err))
			}
			switch perm &= who; op {
			case '+':
				bits |= perm
			case '-':
				bits &^= perm
			case '=':
				bits = bits&^(who&(0o777|setuid|setgid|sticky)) | perm
			}
			i = end
		}
	}
	return bits, nil
}

func whoMask(who string, umask uint32) uint32 {
	if who == "" {
		return 0o7777 &^ umask
	}
	var mask uint32
	for _, w := range who {
		mask |= map[rune]uint32{'u': 0o700 | setuid, 'g': 0o070 | setgid, 'o': 0o007 | sticky, 'a': 0o7777}[w]
	}
	return mask
}

func permBits(letters string, bits uint32, dir bool) (uint32, error) {
	var perm uint32
	for _, l := range letters {
		switch l {
		case 'r':
			perm |= 0o444
		case 'w':
			perm |= 0o222
		case 'x':
			perm |= 0o111
		case 'X':
			if dir || bits&0o111 != 0 {
				perm |= 0o111
			}
		case 's':
			perm |= setuid | setgid
		case 't':
			perm |= sticky
		case 'u':
			perm |= (bits >> 6 & 7) * 0o111
		case 'g':
			perm |= (bits >> 3 & 7) * 0o111
		case 'o':
			perm |= (bits & 7) * 0o111
		default:
			return 0, fmt.Errorf("%q is no permission", l)
		}
	}
	return perm, nil
}
