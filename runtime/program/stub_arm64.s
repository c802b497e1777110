#include "textflag.h"

// The code of the stub; see stub.go and stub_amd64.s.

#define SYS_fcntl 25
#define SYS_read 63
#define SYS_write 64
#define SYS_exit_group 94
#define SYS_execve 221

TEXT ·stubAddress(SB), NOSPLIT, $0-8
	MOVD $stub<>(SB), R0
	MOVD R0, ret+0(FP)
	RET

TEXT stub<>(SB), NOSPLIT|NOFRAME, $0-0
	MOVD 0(RSP), R0
	ADD  $16, RSP, R20 // the first candidate
	ADD  R0<<3, R20, R21 // envp
	MOVD 8(RSP), R0
	MOVBU 0(R0), R22 // the report pipe
	MOVD R22, R0
	MOVD $2, R1 // F_SETFD
	MOVD $1, R2 // FD_CLOEXEC
	MOVD $SYS_fcntl, R8
	SVC
	MOVD 8(RSP), R0
	MOVBU 1(R0), R24 // the pipe to wait on, or 0
	CBZ  R24, go
	MOVD R24, R0
	MOVD $2, R1 // F_SETFD
	MOVD $1, R2 // FD_CLOEXEC
	MOVD $SYS_fcntl, R8
	SVC
	MOVD R24, R0
	SUB  $16, RSP, R1
	MOVD $1, R2
	MOVD $SYS_read, R8
	SVC
	CMP  $1, R0
	BNE  exit // the parent is gone
go:
	MOVD R20, R23
	MOVD $2, R24 // ENOENT, unless something better is known
search:
	MOVD 0(R23), R0
	CBZ  R0, fail // the arguments are not ours
	ADD  $8, R23 // ends behind the empty string: the real argv
	MOVBU 0(R0), R1
	CBNZ R1, search
try:
	MOVD 0(R20), R0
	MOVBU 0(R0), R1
	CBZ  R1, fail
	MOVD R23, R1
	MOVD R21, R2
	MOVD $SYS_execve, R8
	SVC
	NEG  R0, R0
	ADD  $8, R20
	CMP  $2, R0 // ENOENT
	BEQ  try
	CMP  $20, R0 // ENOTDIR
	BEQ  try
	MOVD R0, R24
	CMP  $13, R0 // EACCES
	BEQ  try
fail:
	SUB  $16, RSP, R1
	MOVD $0xffffffff, R2
	LSL  $32, R2, R2
	ORR  R24, R2, R2
	MOVD R2, 0(R1)
	MOVD R22, R0
	MOVD $8, R2
	MOVD $SYS_write, R8
	SVC
exit:
	MOVD $127, R0
	MOVD $SYS_exit_group, R8
	SVC
	UNDEF
	UNDEF
