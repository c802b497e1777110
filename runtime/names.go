package runtime

import (
	"math/rand/v2"
	"os"
	"path/filepath"
)

// freshName returns a name that no container has: an adjective and somebody to
// whom networks or Unix owe something. That it is still free when it is taken is
// takeName's business.
func (r *Runtime) freshName() string {
	adjectives := []string{"brave", "bright", "calm", "clever", "eager", "fair", "gentle", "happy", "jolly", "keen", "kind", "lively", "lucid", "merry", "nimble", "patient", "proud", "quick", "quiet", "sharp", "steady", "swift", "tidy", "vivid", "warm", "wise"}
	people := []string{"baran", "bellovin", "berners", "boyle", "cerf", "clark", "crowcroft", "davies", "estrin", "feinler", "floyd", "jacobson", "kahn", "kernighan", "kleinrock", "lamport", "licklider", "lovelace", "mcilroy", "metcalfe", "mockapetris", "ossanna", "paxson", "perlman", "pike", "postel", "pouzin", "ritchie", "roberts", "saltzer", "thompson", "torvalds", "turing"}
	for try := 0; ; try++ {
		name := adjectives[rand.IntN(len(adjectives))] + "_" + people[rand.IntN(len(people))]
		if try > 8 {
			name += "_" + newID()[:6]
		}
		if _, err := os.Lstat(filepath.Join(r.Root, "names", name)); err != nil {
			return name
		}
	}
}
