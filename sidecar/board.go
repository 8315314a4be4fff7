package sidecar

import (
	"errors"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"jsonguard/internal/vfs"
)

// board is where the processes of one guard tell each other that something happened, so that nobody has to queue for a
// lock to learn that its change was folded. It holds hints only: what they say is checked (against settled, or a lock)
// before anybody relies on it, so that a board that lies, or is missing, costs time and nothing else.
//
//	word 0: turn, counted on by each fold that is settled; waiters sleep on it
//	word 1: asked, counted on by each change that waits in a sidecar; the folder sleeps on it
//	word 2: folding, 1 while a process folds for everybody; that process holds the flock of the board's file
//	word 3: begun, counted on by each fold that got its locks
//	word 4: ended, what begun was for the fold that ended last
//	word 5: whole, likewise for the last one that brought in everything that was pending
//	word 6: news, counted on when a fold has ended, or nobody folds for everybody any more; sessions sleep on it
type board struct {
	file  vfs.File
	unmap func()

	using sync.RWMutex // held for reading around every use of page, which close takes away
	page  []byte       // nil when it is closed

	patience time.Duration // folderPatience

	mine atomic.Bool // this process folds for everybody: the flock of an open file does not exclude who has it open (flock(2))
}

const (
	boardName = "board"
	boardSize = 4096

	// boardlessNap is how often somebody who cannot be woken looks.
	boardlessNap = 2 * time.Millisecond
)

// mapper is a file that can be shared as memory; on other systems than Linux there is none.
type mapper interface {
	Map(size int) (page []byte, unmap func(), err error)
}

// openBoard returns nil where memory cannot be shared: a nil board knows nothing, and waiting at it is a short sleep.
func (s *store) openBoard() *board {
	file, err := s.openOrCreate(boardName, os.O_RDWR)
	if err != nil {
		return nil
	}
	b := &board{file: file, patience: folderPatience}
	if err := b.open(); err != nil {
		_ = file.Close()
		return nil
	}
	return b
}

func (b *board) open() error {
	m, ok := b.file.(mapper)
	if !ok {
		return errors.ErrUnsupported
	}
	info, err := b.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode.IsRegular() {
		return &fs.PathError{Op: "open", Path: boardName, Err: ErrDamaged}
	}
	if info.Size < boardSize {
		if err := b.file.Truncate(boardSize); err != nil {
			return err
		}
	}
	b.page, b.unmap, err = m.Map(boardSize)
	return err
}

// close may come while goroutines of this process still wait here: they find nothing more on the board.
func (b *board) close() {
	if b == nil {
		return
	}
	b.wakeAll(turnWord)
	b.wakeAll(askedWord)
	b.using.Lock()
	b.page = nil
	b.unmap()
	b.using.Unlock()
	_ = b.file.Close()
}

const (
	turnWord = iota
	askedWord
	foldingWord
	begunWord
	endedWord
	wholeWord
	newsWord
)

// word runs f on a word of the page. Who may write the target may also cut the file short under the mapping, and must
// not be able to end this process by that: a fault reads as 0.
func (b *board) word(n int, f func(*uint32) uint32) (value uint32) {
	if b == nil {
		return 0
	}
	b.using.RLock()
	defer b.using.RUnlock()
	if b.page == nil {
		return 0
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			value = 0
		}
	}()
	return f((*uint32)(unsafe.Pointer(&b.page[4*n])))
}

func load(w *uint32) uint32  { return atomic.LoadUint32(w) }
func count(w *uint32) uint32 { return atomic.AddUint32(w, 1) }
func one(w *uint32) uint32   { return atomic.SwapUint32(w, 1) }
func zero(w *uint32) uint32  { return atomic.SwapUint32(w, 0) }

// turn is the number of folds so far.
func (b *board) turn() uint32 { return b.word(turnWord, load) }

// nextTurn says that a fold is settled, and wakes everybody.
func (b *board) nextTurn() {
	b.word(turnWord, count)
	b.wakeAll(turnWord)
}

// awaitTurn returns when turn is not the current one any more, after d, or for no reason.
func (b *board) awaitTurn(turn uint32, d time.Duration) { b.sleep(turnWord, turn, d) }

// asked is the number of changes that were ever put into sidecars.
func (b *board) asked() uint32 { return b.word(askedWord, load) }

// ask says that there is another change to fold.
func (b *board) ask() {
	b.word(askedWord, count)
	b.wakeAll(askedWord)
}

// awaitAsked returns when asked is not the current one any more, after d, or for no reason.
func (b *board) awaitAsked(asked uint32, d time.Duration) { b.sleep(askedWord, asked, d) }

// folding says whether a process folds for everybody, as far as it is known without asking its lock.
func (b *board) folding() bool { return b.word(foldingWord, load) == 1 }

// becomeFolder makes the caller the one that folds for everybody, if there is no other that lives.
func (b *board) becomeFolder() bool {
	if b == nil || !b.mine.CompareAndSwap(false, true) {
		return false
	}
	if ok, err := b.file.TryLock(); err != nil || !ok {
		b.mine.Store(false)
		return false
	}
	b.announce()
	return true
}

// serving says whether this process folds for everybody.
func (b *board) serving() bool { return b != nil && b.mine.Load() }

// announce says that this process, which is the folder, folds for everybody: some may have come to distrust it.
func (b *board) announce() { b.word(foldingWord, one) }

// distrust has nobody wait for the folder, until it says again that it folds.
func (b *board) distrust() { b.word(foldingWord, zero) }

// resign ends becomeFolder, and lets the waiters look for themselves.
func (b *board) resign() {
	b.word(foldingWord, zero)
	_ = b.file.Unlock()
	b.mine.Store(false)
	b.wakeAll(turnWord)
	b.tellNews()
}

// checkFolder takes back what a folder that was killed said.
func (b *board) checkFolder() {
	if b.becomeFolder() {
		b.resign()
	}
}

// begin says that a fold has its locks, and gives it a number.
func (b *board) begin() (number uint32) { return b.word(begunWord, count) }

// end says that this fold is about to give them up. whole: what was pending when it began is in the target.
func (b *board) end(number uint32, whole bool) {
	store := func(w *uint32) uint32 { atomic.StoreUint32(w, number); return number }
	if whole {
		b.word(wholeWord, store)
	}
	b.word(endedWord, store)
}

// begun is the number of the fold that began last.
func (b *board) begun() uint32 { return b.word(begunWord, load) }

// underWay says whether a fold has its locks now, or was killed while it had.
func (b *board) underWay() bool { return b.begun() != b.word(endedWord, load) }

// wholeSince says whether a fold has brought everything in that began after the one of this number. One that did not begin,
// as what is on the board by mistake may say, has not.
func (b *board) wholeSince(number uint32) bool {
	whole := b.word(wholeWord, load)
	return int32(whole-number) > 0 && int32(b.begun()-whole) >= 0
}

func (b *board) news() uint32 { return b.word(newsWord, load) }

func (b *board) tellNews() {
	b.word(newsWord, count)
	b.wakeAll(newsWord)
}

// awaitNews returns when there are others than these, after d, or for no reason.
func (b *board) awaitNews(news uint32, d time.Duration) { b.sleep(newsWord, news, d) }
