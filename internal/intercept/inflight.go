//go:build linux && (amd64 || arm64)

package intercept

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// inFlight are the calls that were received and not answered, in memory that outlives the supervisor: the callers of a
// killed one wait for ever, and nothing else tells who they are. The guardian finds them here. A call is noted right behind
// its receipt, so that a supervisor that is killed between the two leaves one caller more to be found by its mark only.
type inFlight struct {
	fd    int // memfd; the guardian has it too
	slots []inFlightCall

	mu   sync.Mutex
	used int
	free []int
}

// inFlightCall is a slot; id 0 is a free one. Its layout is what the guardian reads.
type inFlightCall struct {
	id  atomic.Uint64
	tid atomic.Uint64
}

// maxInFlight bounds the threads that can be found: each waits in one call.
const maxInFlight = 4096

const inFlightCallSize = int(unsafe.Sizeof(inFlightCall{}))

func newInFlight() (*inFlight, error) {
	fd, err := unix.MemfdCreate("jsonguard-calls", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	const size = maxInFlight * inFlightCallSize
	err = unix.Ftruncate(fd, int64(size))
	var memory []byte
	if err == nil {
		memory, err = unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	}
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("mmap", err)
	}
	return &inFlight{fd: fd, slots: unsafe.Slice((*inFlightCall)(unsafe.Pointer(&memory[0])), maxInFlight)}, nil
}

func (f *inFlight) close() {
	first := (*byte)(unsafe.Pointer(&f.slots[0]))
	_ = unix.Munmap(unsafe.Slice(first, maxInFlight*inFlightCallSize))
	unix.Close(f.fd)
}

// place gives a slot, or -1 where there are none left; give it back.
func (f *inFlight) place() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := len(f.free); n > 0 {
		i := f.free[n-1]
		f.free = f.free[:n-1]
		return i
	}
	if f.used == maxInFlight {
		return -1
	}
	f.used++
	return f.used - 1
}

func (f *inFlight) give(i int) {
	if i < 0 {
		return
	}
	f.slots[i].id.Store(0)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, i)
}

func (f *inFlight) set(i int, n *seccompNotif) {
	if i >= 0 {
		f.slots[i].tid.Store(uint64(n.pid))
		f.slots[i].id.Store(n.id)
	}
}

func (f *inFlight) clear(i int) {
	if i >= 0 {
		f.slots[i].id.Store(0)
	}
}

// readInFlight is how a guardian reads the table of a supervisor that is dead.
func readInFlight(fd int) (calls []seccompNotif) {
	table := make([]byte, maxInFlight*inFlightCallSize)
	n, err := unix.Pread(fd, table, 0)
	if err != nil {
		return nil
	}
	for ; n >= inFlightCallSize; n -= inFlightCallSize {
		if id := binary.NativeEndian.Uint64(table); id != 0 {
			calls = append(calls, seccompNotif{id: id, pid: uint32(binary.NativeEndian.Uint64(table[8:]))})
		}
		table = table[inFlightCallSize:]
	}
	return calls
}
