package program

const (
	stubMachine = 62                 // EM_X86_64
	stubEnd     = "\x0f\x0b\x0f\x0b" // UNDEF, UNDEF
)
