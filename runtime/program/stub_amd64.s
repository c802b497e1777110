#include "textflag.h"

// The code of the stub; see stub.go. It is never called: stubAddress gives its
// place, and its bytes are copied into a file. It is position independent.

#define SYS_read 0
#define SYS_write 1
#define SYS_execve 59
#define SYS_fcntl 72
#define SYS_exit_group 231

TEXT ·stubAddress(SB), NOSPLIT, $0-8
	LEAQ stub<>(SB), AX
	MOVQ AX, ret+0(FP)
	RET

TEXT stub<>(SB), NOSPLIT|NOFRAME, $0-0
	// SP: argc, argv[0] … argv[argc-1], NULL, envp …
	MOVQ 0(SP), AX
	LEAQ 16(SP)(AX*8), R13 // envp
	LEAQ 16(SP), R12       // the first candidate
	MOVQ 8(SP), AX
	MOVBLZX 0(AX), BX // the report pipe
	MOVQ BX, DI
	MOVL $2, SI // F_SETFD
	MOVL $1, DX // FD_CLOEXEC
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ 8(SP), AX
	MOVBLZX 1(AX), DI // the pipe to wait on, or 0
	TESTL DI, DI
	JEQ  go
	MOVQ DI, R14
	MOVL $2, SI // F_SETFD
	MOVL $1, DX // FD_CLOEXEC
	MOVL $SYS_fcntl, AX
	SYSCALL
	MOVQ R14, DI
	LEAQ -16(SP), SI
	MOVL $1, DX
	MOVL $SYS_read, AX
	SYSCALL
	CMPQ AX, $1
	JNE  exit // the parent is gone
go:
	MOVQ R12, R15
	MOVL $2, R14 // ENOENT, unless something better is known
search:
	MOVQ 0(R15), AX
	TESTQ AX, AX
	JEQ  fail // the arguments are not ours
	ADDQ $8, R15 // ends behind the empty string: the real argv
	CMPB 0(AX), $0
	JNE  search
try:
	MOVQ 0(R12), DI
	CMPB 0(DI), $0
	JEQ  fail
	MOVQ R15, SI
	MOVQ R13, DX
	MOVL $SYS_execve, AX
	SYSCALL
	NEGQ AX
	ADDQ $8, R12
	CMPQ AX, $2 // ENOENT
	JEQ  try
	CMPQ AX, $20 // ENOTDIR
	JEQ  try
	MOVQ AX, R14
	CMPQ AX, $13 // EACCES
	JEQ  try
fail:
	MOVL R14, -16(SP)
	MOVL $0xffffffff, -12(SP)
	MOVQ BX, DI
	LEAQ -16(SP), SI
	MOVL $8, DX
	MOVL $SYS_write, AX
	SYSCALL
exit:
	MOVL $127, DI
	MOVL $SYS_exit_group, AX
	SYSCALL
	UNDEF
	UNDEF
