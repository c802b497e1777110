package seccomp

import (
	"cmp"
	"fmt"
	"slices"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// A rule gives a verdict on calls whose arguments meet all of its conditions.
type rule struct {
	verdict    verdict
	conditions []condition // sorted by argument
	source     int         // index in the profile's list
}

// A condition compares one argument with a value.
type condition struct {
	index    uint // of the argument, 0 to 5
	operator operator
	mask     uint64 // is laid over the argument first; all ones but for masked
	value    uint64
}

type operator uint8

const (
	equal operator = iota
	notEqual
	masked
	less
	lessEqual
	greater
	greaterEqual
)

// operators are the operator names of OCI runtime-spec, config-linux.md,
// "Seccomp", each with how specific libseccomp takes it to be: rules with
// higher rank are tried first.
var operators = [...]struct {
	name specs.LinuxSeccompOperator
	rank int
}{
	equal:        {specs.OpEqualTo, 3},
	notEqual:     {specs.OpNotEqual, 3},
	masked:       {specs.OpMaskedEqual, 3},
	less:         {specs.OpLessThan, 2},
	lessEqual:    {specs.OpLessEqual, 2},
	greater:      {specs.OpGreaterThan, 1},
	greaterEqual: {specs.OpGreaterEqual, 1},
}

const argCount = 6 // arguments of a system call

// parseConditions returns the conditions sorted by argument, and whether they
// must be split into rules of one condition each, because two of them are on
// the same argument.
func parseConditions(args []specs.LinuxSeccompArg) (list []condition, split bool, problem *FieldError) {
	seen := 0
	for i, a := range args {
		if a.Index >= argCount {
			return nil, false, fieldError(fmt.Sprintf("args[%d].index", i), "%d is not an argument, which count from 0 to %d", a.Index, argCount-1)
		}
		op, ok := parseOperator(a.Op)
		if !ok {
			return nil, false, fieldError(fmt.Sprintf("args[%d].op", i), "unknown operator %q", a.Op)
		}
		split = split || seen&(1<<a.Index) != 0
		seen |= 1 << a.Index
		c := condition{index: a.Index, operator: op, mask: ^uint64(0), value: a.Value}
		if op == masked { // Value is the mask, ValueTwo what is to be left under it
			c.mask, c.value = a.Value, a.ValueTwo&a.Value
		}
		list = append(list, c)
	}
	slices.SortStableFunc(list, func(a, b condition) int { return cmp.Compare(a.index, b.index) })
	return list, split, nil
}

func parseOperator(name specs.LinuxSeccompOperator) (operator, bool) {
	for op := range operators {
		if operators[op].name == name {
			return operator(op), true
		}
	}
	return 0, false
}

// on returns the rule as it applies to an architecture: its conditions narrowed
// to 32 bits where that is all that an argument has, and without those that
// always hold.
func (r *rule) on(a *arch) *rule {
	if !a.narrow && !slices.ContainsFunc(r.conditions, condition.always) {
		return r
	}
	fitted := *r
	fitted.conditions = make([]condition, 0, len(r.conditions))
	for _, c := range r.conditions {
		if a.narrow {
			c.mask, c.value = uint64(uint32(c.mask)), uint64(uint32(c.value))
		}
		if !c.always() {
			fitted.conditions = append(fitted.conditions, c)
		}
	}
	return &fitted
}

// always says that every argument meets the condition.
func (c condition) always() bool { return c.operator == masked && c.mask == 0 }

// compare orders the rules of one call as libseccomp tries them (db.c,
// _db_chain_lt): condition by condition, conditions on later arguments first,
// equality before less before greater, and within one of these the narrower
// bound first. The rule with fewer conditions comes first if they are otherwise
// the same. 0 means that the order in the profile counts.
func (r *rule) compare(other *rule) int {
	for i := range min(len(r.conditions), len(other.conditions)) {
		if order := r.conditions[i].compare(other.conditions[i]); order != 0 {
			return order
		}
	}
	return cmp.Compare(len(r.conditions), len(other.conditions))
}

func (c condition) compare(other condition) int {
	byValue := cmp.Compare(other.value, c.value)
	if c.operator == less || c.operator == lessEqual {
		byValue = -byValue
	}
	return cmp.Or(
		cmp.Compare(other.index, c.index),
		cmp.Compare(operators[other.operator].rank, operators[c.operator].rank),
		byValue,
	)
}

// decide returns the rule that alone counts among the rules for one call, given
// in the order of the profile: the first one without conditions. If there is
// none, it puts the rules into the order in which they are to be tried.
func decide(rules []*rule, call int) (always *rule, err error) {
	for _, r := range rules {
		if len(r.conditions) == 0 {
			return r, nil
		}
	}
	for i, later := range rules {
		for _, earlier := range rules[:i] {
			if later.contradicts(earlier) {
				return nil, fieldError(fmt.Sprintf("%s.syscalls[%d]", root, later.source),
					"%s: contradicts syscalls[%d], which has the same args and another action", callName(call), earlier.source)
			}
		}
	}
	slices.SortStableFunc(rules, (*rule).compare)
	return nil, nil
}

// contradicts says that the rule leaves an earlier one without effect, or has
// none itself, while their verdicts differ: its conditions are the first or all
// of the earlier one's.
func (r *rule) contradicts(earlier *rule) bool {
	return r.verdict != earlier.verdict &&
		len(r.conditions) <= len(earlier.conditions) &&
		slices.Equal(r.conditions, earlier.conditions[:len(r.conditions)])
}
