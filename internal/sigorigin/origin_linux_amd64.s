#include "textflag.h"

// A signal handler gets signal, siginfo and context in DI, SI and DX; AX, CX and R8 to R11 are its to use
// (System V ABI). si_code is the third int of siginfo.
TEXT ·trampoline(SB), NOSPLIT|NOFRAME|TOPFRAME, $0
	MOVL 8(SI), AX
	MOVL DI, CX
	LEAQ ·codes(SB), R8
	MOVL AX, (R8)(CX*4)
	LEAQ ·handlers(SB), R8
	MOVQ (R8)(CX*8), AX
	JMP  AX

TEXT ·trampolinePC(SB), NOSPLIT, $0-8
	LEAQ ·trampoline(SB), AX
	MOVQ AX, ret+0(FP)
	RET
