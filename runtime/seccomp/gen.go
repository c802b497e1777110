package seccomp

// The tables are made from two modules of go.mod; run this after either of them
// has a new version. The profile's generator compiles with the table of the
// first, so the order matters.

//go:generate go run ./gen/syscalls
//go:generate go run ./gen/profile
