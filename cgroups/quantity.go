package cgroups

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/minictr/minictr/runtime/step"
)

// units of memory, as Docker's: each is 1024 of the one before, whether it is
// written k, kb or kib.
const units = "bkmgtp"

// ParseMemory reads an amount of memory as Docker does: "512m", "1.5g",
// "64KiB", "1048576". It returns bytes.
func ParseMemory(text string) (int64, error) {
	number, unit := splitUnit(text)
	exponent := 0
	if unit != "" {
		exponent = strings.Index(units, unit[:1])
		if rest := unit[1:]; exponent < 0 || rest != "" && rest != "b" && rest != "ib" || exponent == 0 && rest != "" {
			return 0, fmt.Errorf("%q: unknown unit %q, want b, k, m or g", text, unit)
		}
	}
	amount, ok := parseDecimal(number)
	if !ok {
		return 0, fmt.Errorf("%q: want a number with a unit of b, k, m or g, as in 512m", text)
	}
	amount.Mul(amount, new(big.Rat).SetInt64(1<<(10*exponent)))
	bytes := new(big.Int).Quo(amount.Num(), amount.Denom())
	if !bytes.IsInt64() {
		return 0, fmt.Errorf("%q: too large", text)
	}
	return bytes.Int64(), nil
}

func splitUnit(text string) (number, unit string) {
	i := strings.IndexFunc(text, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if i < 0 {
		return text, ""
	}
	return text[:i], strings.ToLower(strings.TrimPrefix(text[i:], " "))
}

// parseDecimal reads digits with at most one point. Signs, exponents and
// fractions, which big.Rat would take, are nothing that a user means here.
func parseDecimal(text string) (*big.Rat, bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	const longest = 20 // digits
	if whole+fraction == "" || len(text) > longest || strings.Trim(whole+fraction, "0123456789") != "" {
		return nil, false
	}
	return new(big.Rat).SetString("0" + whole + "." + fraction + "0")
}

// parseCPUs reads a number of cpus such as "1.5" and returns it in billionths.
func parseCPUs(text string) (int64, error) {
	amount, ok := parseDecimal(text)
	if !ok {
		return 0, fmt.Errorf("%q: want a number of cpus, as in 1.5", text)
	}
	amount.Mul(amount, big.NewRat(1_000_000_000, 1))
	if !amount.IsInt() || !amount.Num().IsInt64() {
		return 0, fmt.Errorf("%q: more than nine decimals, or too large", text)
	}
	return amount.Num().Int64(), nil
}

// A List is a set of cpus or memory nodes, sorted, as the kernel writes it:
// "0-3,8" (cpuset(7), "List format").
type List []int

// maxListed bounds the numbers in a list: the kernel's NR_CPUS is at most 8192.
const maxListed = 8192

// ParseList reads a list. Ranges may overlap and come in any order.
func ParseList(text string) (List, error) {
	var list List
	for part := range strings.SplitSeq(strings.TrimSpace(text), ",") {
		low, high, isRange := strings.Cut(part, "-")
		first, err := parseListed(low)
		last := first
		if isRange && err == nil {
			last, err = parseListed(high)
		}
		if err != nil {
			return nil, fmt.Errorf("%q: %w, want a list as in 0-3,8", text, err)
		}
		if last < first {
			return nil, fmt.Errorf("%q: range %s runs backwards", text, part)
		}
		for n := first; n <= last; n++ {
			list = append(list, n)
		}
		if len(list) > maxListed {
			return nil, fmt.Errorf("%q: too long", text)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), nil
}

func parseListed(text string) (int, error) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, fmt.Errorf("%q is no number", text)
	}
	n, err := strconv.Atoi(text)
	if err != nil || n >= maxListed {
		return 0, fmt.Errorf("%s is too large", text)
	}
	return n, nil
}

func (l List) String() string {
	var parts []string
	for i := 0; i < len(l); {
		j := i
		for j+1 < len(l) && l[j+1] == l[j]+1 {
			j++
		}
		part := strconv.Itoa(l[i])
		if j > i {
			part += "-" + strconv.Itoa(l[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// Without returns what of l is not in other.
func (l List) Without(other List) List {
	var rest List
	for _, n := range l {
		if !slices.Contains(other, n) {
			rest = append(rest, n)
		}
	}
	return rest
}

// OnlineCPUs returns the cpus that the machine has running.
func OnlineCPUs() (List, error) { return readList("/sys/devices/system/cpu/online") }

// OnlineNodes returns the memory nodes of the machine. A kernel without NUMA has
// the node 0.
func OnlineNodes() (List, error) {
	list, err := readList("/sys/devices/system/node/online")
	if gone(err) {
		return List{0}, nil
	}
	return list, err
}

func readList(file string) (List, error) {
	content, err := readFile(file)
	if err != nil {
		return nil, step.Fail("read", file, err)
	}
	list, err := ParseList(string(content))
	return list, step.Fail("read", file, err)
}
