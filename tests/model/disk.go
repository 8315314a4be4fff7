package model

// What the disk of the model does.
//
// A kill loses nothing: what a system call did is in the page cache and every other process sees it. A power cut ends
// all processes and loses any subset of what was not synced:
//   - data of a temporary file: all there, or torn;
//   - a commit record: the old one, the new one, or torn; the same bytes written again cannot tear;
//   - the hint settled, which nobody syncs: its value, or unreadable;
//   - lines of a sidecar: any subset of those appended since the last fsync, a truncation undone or not;
//   - entries of pending/, made or removed: each for itself;
//   - entries of the target's directory: with ordered == false each effect for itself, so that of a rename the
//     new entry may survive and the removal of the old name not, or the other way round; with ordered == true a prefix of the
//     operations, renames in one piece, as journaling filesystems do it. An outsider without a lock needs the latter,
//     see docs/GUARANTEES.md.
//
// A failed fsync of a file leaves its pages in the cache and marked clean: a later fsync succeeds and does nothing
// (https://lwn.net/Articles/752063/). A failed fsync of a directory is honest afterwards, unless Config.ParentLies.

func (d *parentDir) add(kind, name, inode uint8) {
	if int(d.n) == maxDirOps {
		panic("the bounds of the model are too small: raise maxDirOps")
	}
	d.ops[d.n] = dirOp{kind, name, inode}
	d.n++
	d.clean = 0
	d.target, d.temps = apply(d.target, d.temps, dirOp{kind, name, inode}, true, true)
}

func apply(target uint8, temps [maxTemps]uint8, op dirOp, entry, removal bool) (uint8, [maxTemps]uint8) {
	switch op.kind {
	case opCreate:
		if entry {
			temps[op.name] = op.inode
		}
	case opUnlink:
		if removal {
			temps[op.name] = 0
		}
	case opRename:
		if entry {
			target = op.inode
		}
		if removal && op.name != 0 {
			temps[op.name] = 0
		}
	}
	return target, temps
}

func (d *parentDir) sync() {
	if d.clean == 1 {
		return
	}
	d.targetDisk, d.tempsDisk = d.target, d.temps
	d.ops, d.n = [maxDirOps]dirOp{}, 0
}

func (c *commitFile) sync() {
	if c.dirty == 1 {
		c.disk, c.dirty = c.cache, 0
	}
}

func (c *sidecar) link(present uint8) {
	c.linked = present
	c.linkedMaybe |= 1 << present
}

func (c *sidecar) append(seq int) {
	bit := uint8(1) << (seq - 1)
	maybe := c.linesMaybe
	for m := range uint8(8) {
		// A set with lines that were cut away is what was there before the cut: the new line overwrote those.
		if c.linesMaybe>>m&1 == 1 && m&^c.lines == 0 {
			maybe |= 1 << (m | bit)
		}
	}
	c.linesMaybe = maybe
	c.lines |= bit
}

func (c *sidecar) sync() { c.linesMaybe = 1 << c.lines }

func (c *sidecar) truncate() {
	c.lines = 0
	c.linesMaybe |= 1
}

func (s *state) syncPending() {
	for i := range s.sidecars {
		c := &s.sidecars[i]
		c.linkedMaybe = 1 << c.linked
		if c.linked == 0 {
			s.sidecars[i].forgetIfGone()
		}
	}
}

// forgetIfGone: a file without an entry that cannot come back has no content, unless its owner still has it open.
func (c *sidecar) forgetIfGone() {
	if c.linked == 0 && c.linkedMaybe == 1 && c.flock == 0 {
		*c = sidecar{linkedMaybe: 1}
	}
}

// powerCuts calls visit with every disk that a power cut can leave of s. The processes have been restarted already.
func (s *state) powerCuts(ordered bool, visit func(*state)) {
	s.cutParent(ordered, func(s *state) {
		s.cutInodes(1, func(s *state) {
			s.cutCommits(0, func(s *state) {
				s.cutSidecars(0, func(s *state) {
					s.cutQuarantine(visit)
				})
			})
		})
	})
}

func (s *state) cutParent(ordered bool, visit func(*state)) {
	d := &s.parent
	if ordered {
		target, temps := d.targetDisk, d.tempsDisk
		for i := uint8(0); ; i++ {
			visit(s.withParent(target, temps))
			if i == d.n {
				return
			}
			target, temps = apply(target, temps, d.ops[i], true, true)
		}
	}
	var choose func(i uint8, target uint8, temps [maxTemps]uint8)
	seen := map[parentDir]bool{}
	choose = func(i uint8, target uint8, temps [maxTemps]uint8) {
		if i == d.n {
			t := s.withParent(target, temps)
			if !seen[t.parent] {
				seen[t.parent] = true
				visit(t)
			}
			return
		}
		entry, removal := d.ops[i].kind != opUnlink, d.ops[i].kind != opCreate
		for choice := range 4 {
			e, r := choice&1 == 1, choice&2 == 2
			if e && !entry || r && !removal {
				continue
			}
			t, n := apply(target, temps, d.ops[i], e, r)
			choose(i+1, t, n)
		}
	}
	choose(0, d.targetDisk, d.tempsDisk)
}

func (s *state) withParent(target uint8, temps [maxTemps]uint8) *state {
	t := *s
	t.parent = parentDir{target: target, targetDisk: target, temps: temps, tempsDisk: temps}
	return &t
}

func (s *state) cutInodes(i int, visit func(*state)) {
	for ; i < maxInodes; i++ {
		if s.inodes[i]&written != 0 && s.inodes[i]&onDisk == 0 && s.entryOf(uint8(i)) {
			break
		}
	}
	if i == maxInodes {
		visit(s)
		return
	}
	t := *s
	t.inodes[i] |= onDisk
	t.cutInodes(i+1, visit)
	t.inodes[i] = 0 // torn
	t.cutInodes(i+1, visit)
}

func (s *state) entryOf(inode uint8) bool {
	if s.parent.target == inode {
		return true
	}
	for _, i := range s.parent.temps {
		if i == inode {
			return true
		}
	}
	return false
}

func (s *state) cutCommits(i int, visit func(*state)) {
	if i == len(s.commits) {
		t := *s
		visit(&t)
		if s.settled != 0 {
			t = *s
			t.settled = 0
			visit(&t)
		}
		return
	}
	c := s.commits[i]
	outcomes := [3]record{c.disk, c.cache, {}}
	n := 3
	if c.disk == c.cache || c.dirty == 0 {
		n = 1
	}
	for _, r := range outcomes[:n] {
		t := *s
		t.commits[i] = commitFile{disk: r, cache: r}
		t.cutCommits(i+1, visit)
	}
}

func (s *state) cutSidecars(i int, visit func(*state)) {
	if i == len(s.sidecars) {
		visit(s)
		return
	}
	c := s.sidecars[i]
	if c.linkedMaybe&1 != 0 {
		t := *s
		t.sidecars[i] = sidecar{linkedMaybe: 1}
		t.cutSidecars(i+1, visit)
	}
	if c.linkedMaybe&2 == 0 {
		return
	}
	for m := range uint8(8) {
		if c.linesMaybe>>m&1 == 1 {
			t := *s
			t.sidecars[i] = sidecar{linked: 1, linkedMaybe: 2, lines: m, linesMaybe: 1 << m, first: c.first}
			t.cutSidecars(i+1, visit)
		}
	}
}

func (s *state) cutQuarantine(visit func(*state)) {
	open := s.quarantine &^ s.quarantineDisk
	for kept := open; ; kept = (kept - 1) & open {
		t := *s
		t.quarantine = s.quarantineDisk | kept
		t.quarantineDisk = t.quarantine
		visit(&t)
		if kept == 0 {
			return
		}
	}
}
