package model

// The bounds of the model. All references are small indices, so that a state is one flat value that can be
// copied, compared and hashed.
const (
	maxProcs   = 3
	maxChanges = 6 // over all processes; at most 3 for one
	maxInodes  = 18
	maxTemps   = 12
	maxDirOps  = 14
	outside    = maxChanges // the index of the outsider's edit, after the changes
)

// state is everything there is: the disk as programs see it and as it would be after a power cut, the processes, and
// what is left of the budgets. Index 0 means "none" for inodes and temporary names.
type state struct {
	inodes   [maxInodes]version
	commits  [2]commitFile
	procs    [maxProcs]process
	sidecars [maxChanges]sidecar // by the id of the first change that was written to it

	parent parentDir

	settled        uint8 // generation in the hint; 0: nothing readable
	acked          uint8 // bit i: change i was acknowledged; bit outside: the outsider's edit is visible
	quarantine     uint8
	quarantineDisk uint8
	lockTarget     uint8 // process+1 that holds <target>.lock
	lockGuard      uint8
	guardMade      uint8 // 1: there is a guard directory
	kills          uint8 // budgets: what may still happen
	losses         uint8
	outsiders      uint8
	faults         uint8
}

// version is the content of one inode: two bits for each change (how often it is in there), and two flags.
type version uint16

const (
	written version = 1 << 14 // all of it is in the page cache
	onDisk  version = 1 << 15 // all of it is on disk
)

func (v version) count(change int) int { return int(v>>(2*change)) & 3 }

func (v version) with(change int) version {
	if v.count(change) == 3 {
		return v
	}
	return v + 1<<(2*change)
}

// total stands for the hash of a document that is a counter: who added does not show in it.
func (v version) total() (n int) {
	for c := range outside + 1 {
		n += v.count(c)
	}
	return n
}

// marks are watermarks: for each sidecar two bits, the last seq that is in the target.
type marks uint16

func (m marks) of(slot int) int { return int(m>>(2*slot)) & 3 }

func (m marks) set(slot, seq int) marks { return m&^(3<<(2*slot)) | marks(seq)<<(2*slot) }

// record is one commit record. The zero value is a torn one.
type record struct {
	before, after marks
	gen           uint8
	valid         uint8
	temp          uint8 // 0: kind none, only the watermarks move
	from, to      uint8 // inodes: identity is unique, an inode number is never mistaken for an older one
	_             uint8
}

// commitFile is commit.0 or commit.1.
type commitFile struct {
	disk, cache record
	dirty       uint8 // fsync has something to do; 0 with disk != cache: an fsync failed and the pages count as clean
	_           uint8
}

// sidecar is one file of pending/. Line i (bit i) is seq i+1 and carries change first+i.
type sidecar struct {
	linked      uint8 // its entry in pending/
	linkedMaybe uint8 // what the entry may be after a power cut: 1 absent, 2 present
	lines       uint8
	linesMaybe  uint8 // bit m: after a power cut its lines may be the set m
	flock       uint8 // process+1
	first       uint8
}

// end is the seq of the last line.
func (s sidecar) end() int {
	for seq := 3; seq > 0; seq-- {
		if s.lines>>(seq-1)&1 == 1 {
			return seq
		}
	}
	return 0
}

// process is one process, with the variables of the fold that it is in.
type process struct {
	marks, after marks
	pc           step
	next         uint8 // index into its program
	slot         uint8 // its sidecar+1
	seq          uint8 // of the last line it wrote
	target       uint8 // inode it read
	names        uint8 // sidecars that it listed
	cursor       uint8
	lines        uint8 // changes to fold
	temp, inode  uint8 // its temporary file
	flags        uint8
	_            uint8
}

const (
	needsFold   = 1 << iota // something to fold, or a new life: look at what there is
	entrySynced             // its sidecar's entry is on disk
	dropping                // a watermark without its file
	removed                 // it removed a sidecar
	direct                  // no guard directory was there: it replaces the target without a record
)

// parentDir is the directory of the target: what programs see, what is on disk, and the operations in between.
type parentDir struct {
	target, targetDisk uint8
	temps, tempsDisk   [maxTemps]uint8 // name → inode
	ops                [maxDirOps]dirOp
	n                  uint8
	clean              uint8 // an fsync failed: the next one returns success without doing anything
}

type dirOp struct {
	kind, name, inode uint8
}

const (
	opCreate = 1 + iota
	opUnlink
	opRename // name → target, at once
)

// newest is the commit record a reader of both files believes: nil when neither is valid.
func (s *state) newest() *record {
	var best *record
	for i := range s.commits {
		if r := &s.commits[i].cache; r.valid == 1 && (best == nil || r.gen > best.gen) {
			best = r
		}
	}
	return best
}

// canonical renames inodes and temporary names in the order they are met and shifts generations, so that states that
// differ in such names only are one state. What nobody refers to any more disappears.
func (s *state) canonical(m *Model) {
	s.forgetOldRecord(m)
	s.shiftGenerations()
	var inode [maxInodes]uint8
	var name [maxTemps]uint8
	inodes, names := uint8(0), uint8(0)
	old := s.inodes
	s.inodes = [maxInodes]version{}
	mapInode := func(p *uint8) {
		if *p == 0 {
			return
		}
		if inode[*p] == 0 {
			inodes++
			inode[*p] = inodes
			s.inodes[inodes] = old[*p]
		}
		*p = inode[*p]
	}
	mapName := func(p *uint8) {
		if *p == 0 {
			return
		}
		if name[*p] == 0 {
			names++
			name[*p] = names
		}
		*p = name[*p]
	}
	d := &s.parent
	mapInode(&d.target)
	mapInode(&d.targetDisk)
	for i := range s.commits {
		c := &s.commits[i]
		for _, r := range [2]*record{&c.cache, &c.disk} {
			mapName(&r.temp)
			mapInode(&r.from)
			mapInode(&r.to)
		}
	}
	for i := range m.programs {
		p := &s.procs[i]
		mapInode(&p.target)
		mapInode(&p.inode)
		mapName(&p.temp)
	}
	for i := range d.n {
		mapName(&d.ops[i].name)
		mapInode(&d.ops[i].inode)
	}
	temps, tempsDisk := d.temps, d.tempsDisk
	d.temps, d.tempsDisk = [maxTemps]uint8{}, [maxTemps]uint8{}
	for i := uint8(1); i < maxTemps; i++ {
		if temps[i] == 0 && tempsDisk[i] == 0 {
			continue
		}
		n := i
		mapName(&n)
		mapInode(&temps[i])
		mapInode(&tempsDisk[i])
		d.temps[n], d.tempsDisk[n] = temps[i], tempsDisk[i]
	}
}

// forgetOldRecord: where the newest record is on disk, nobody will ever look into the older one.
func (s *state) forgetOldRecord(m *Model) {
	if m.weak == singleCommit {
		return
	}
	newest := s.newest()
	if newest == nil {
		return
	}
	slot := newest.gen & 1
	c := &s.commits[slot]
	if &c.cache != newest || c.cache != c.disk {
		return
	}
	o := &s.commits[1-slot]
	if o.cache.valid == 0 {
		return
	}
	*o = commitFile{cache: record{gen: newest.gen - 1, valid: 1}}
	o.disk = o.cache
}

func (s *state) shiftGenerations() {
	low := uint8(255)
	for i := range s.commits {
		for _, r := range [2]*record{&s.commits[i].cache, &s.commits[i].disk} {
			if r.valid == 1 {
				low = min(low, r.gen)
			}
		}
	}
	if low == 255 {
		return
	}
	shift := low&^1 - 2
	for i := range s.commits {
		for _, r := range [2]*record{&s.commits[i].cache, &s.commits[i].disk} {
			if r.valid == 1 {
				r.gen -= shift
			}
		}
	}
	if s.settled < low {
		s.settled = 0
	} else {
		s.settled -= shift
	}
}

// fresh returns an inode number and a temporary name that nothing refers to.
func (s *state) fresh() (inode, name uint8) {
	var usedI [maxInodes]bool
	var usedN [maxTemps]bool
	usedI[0], usedN[0] = true, true
	d := &s.parent
	usedI[d.target], usedI[d.targetDisk] = true, true
	for i := range s.commits {
		for _, r := range [2]*record{&s.commits[i].cache, &s.commits[i].disk} {
			usedN[r.temp], usedI[r.from], usedI[r.to] = true, true, true
		}
	}
	for i := range s.procs {
		p := &s.procs[i]
		usedI[p.target], usedI[p.inode], usedN[p.temp] = true, true, true
	}
	for i := range d.n {
		usedN[d.ops[i].name], usedI[d.ops[i].inode] = true, true
	}
	for i := range d.temps {
		usedI[d.temps[i]], usedI[d.tempsDisk[i]] = true, true
		if d.temps[i] != 0 || d.tempsDisk[i] != 0 {
			usedN[i] = true
		}
	}
	for i, used := range usedI {
		if !used {
			inode = uint8(i)
			break
		}
	}
	for i, used := range usedN {
		if !used {
			name = uint8(i)
			break
		}
	}
	if inode == 0 || name == 0 {
		panic("the bounds of the model are too small: raise maxInodes or maxTemps")
	}
	return inode, name
}
