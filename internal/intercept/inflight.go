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
// killed one wait for ever, and nothing else tells who they are. The guardian finds them here. The kernel itself writes a call into
// its slot as it hands it over (kernel/seccomp.c, seccomp_notify_recv), so that no supervisor is killed between the receipt of a call and
// its note.
type inFlight struct {
	fd    int            // memfd; the guardian has it too
	slots []seccompNotif // id 0 is a free one

	mu   sync.Mutex
	used int
	free []int
}

// maxInFlight bounds the threads that can be found: each waits in one call.
const maxInFlight = 4096

const inFlightCallSize = int(unsafe.Sizeof(seccompNotif{}))

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
	return &inFlight{fd: fd, slots: unsafe.Slice((*seccompNotif)(unsafe.Pointer(&memory[0])), maxInFlight)}, nil
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
	f.clear(i)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.free = append(f.free, i)
}

// at is where a call is to be received that then has place i: zeros, as the kernel wants them.
func (f *inFlight) at(i int) *seccompNotif {
	if i < 0 {
		return &seccompNotif{}
	}
	f.slots[i] = seccompNotif{}
	return &f.slots[i]
}

// set notes a call that has a place already in another one.
func (f *inFlight) set(i int, n *seccompNotif) {
	if i >= 0 {
		f.slots[i].pid = n.pid
		atomic.StoreUint64(&f.slots[i].id, n.id)
	}
}

func (f *inFlight) clear(i int) {
	if i >= 0 {
		atomic.StoreUint64(&f.slots[i].id, 0)
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
			calls = append(calls, seccompNotif{id: id, pid: binary.NativeEndian.Uint32(table[8:])})
		}
		table = table[inFlightCallSize:]
	}
	return calls
}
