package program

const (
	stubMachine = 183                                // EM_AARCH64
	stubEnd     = "\x00\x17\xa7\xbe\x00\x17\xa7\xbe" // UNDEF, UNDEF
)
