package model

// The protocol. Every step is one system call (or a group that nobody can look between) and one labelled transition of
// the search: between any two of them the process can be killed, the power can fail, and another process can take
// its turn. The numbers are those of the fold in docs/fold.md and in sidecar/fold.go.

type step uint8

const (
	done    step = iota
	stopped      // status 74: damage, nothing is touched any more

	// A change is written to the process's own sidecar.
	linkSidecar
	syncEntry
	appendLine
	syncLine
	syncLineLate // the lock was not to be had in time: the change is kept pending, which is promised then
	syncEntryLate
	checkLinked

	// The fold.
	lockTarget // 1
	lookForGuard
	lockGuard
	stopDirect
	readState // 2
	rewriteCommit
	syncOldCommit
	judgeTemp
	touchParent
	syncParentHappened
	writeSettledHappened
	covered     // no system call: a waiter whose change is under the watermark acknowledges and lets go
	listPending // 3
	readSidecar
	syncPendingDropped
	writeQuarantine // 4
	syncQuarantine
	createTemp // 5
	writeTemp
	syncTemp
	lookAgain
	syncParentBefore
	writeCommit // 6
	syncNewCommit
	checkTarget // 7
	rename
	syncParentAfter
	writeSettled
	ack        // no system call
	sweepTemps // 8
	lockSidecar
	unlinkSidecar
	syncPendingSwept
	truncateOwn
	unlock

	// The process ends in good order.
	closeCheck
	unlinkOwn
	stepCount
)

// order is what follows what. A variant takes steps out of it or moves them.
var order = [][]step{
	{linkSidecar, syncEntry, appendLine, syncLine, syncLineLate, syncEntryLate, checkLinked},
	{
		lockTarget, lookForGuard, lockGuard, stopDirect,
		readState, rewriteCommit, syncOldCommit, judgeTemp, touchParent, syncParentHappened, writeSettledHappened, covered,
		listPending, readSidecar, syncPendingDropped,
		writeQuarantine, syncQuarantine,
		createTemp, writeTemp, syncTemp, lookAgain, syncParentBefore,
		writeCommit, syncNewCommit,
		checkTarget, rename, syncParentAfter, writeSettled, ack,
		sweepTemps, lockSidecar, unlinkSidecar, syncPendingSwept, truncateOwn,
		unlock,
	},
	{closeCheck, unlinkOwn, done},
}

// transition is what one step is and does. do changes the state and says where to go on. A step that skip holds for
// makes no system call that matters. fault is the same call failing.
type transition struct {
	label string
	ready func(m *Model, s *state, p *process) bool
	skip  func(m *Model, s *state, p *process) bool
	do    func(m *Model, s *state, p *process) step
	fault func(m *Model, s *state, p *process)
}

// transitions is filled below; a map would be slower and an init cycle is avoided by setting it in init.
var transitions [stepCount]transition

func init() {
	transitions = [stepCount]transition{
		linkSidecar: {
			label: "create the sidecar hidden, flock it, rename it into pending/",
			skip:  func(m *Model, s *state, p *process) bool { return p.slot != 0 },
			do: func(m *Model, s *state, p *process) step {
				change := m.current(s, p)
				slot := change
				s.guardMade = 1
				if m.weak == reuseSidecarName {
					// A name made of host and pid, say: taken again as soon as it is free.
					if first := m.base[m.index(s, p)]; s.sidecars[first].linked == 0 {
						slot = first
					}
				}
				c := &s.sidecars[slot]
				c.link(1)
				c.first, c.lines, c.linesMaybe, c.flock = uint8(change), 0, 1, m.id(s, p)
				p.slot, p.seq = uint8(slot)+1, 0
				p.flags &^= entrySynced
				return m.next[linkSidecar]
			},
		},
		syncEntry: {
			label: "fsync pending/",
			skip: func(m *Model, s *state, p *process) bool {
				return m.op(s, p) == 'D' || m.op(s, p) == 'T' || p.flags&entrySynced != 0
			},
			do: func(m *Model, s *state, p *process) step {
				s.syncPending()
				p.flags |= entrySynced
				return m.next[syncEntry]
			},
			fault: (*Model).giveUp,
		},
		appendLine: {
			label: "append the change to the sidecar",
			do: func(m *Model, s *state, p *process) step {
				p.seq++
				s.sidecars[p.slot-1].append(int(p.seq))
				p.flags |= needsFold
				return m.next[appendLine]
			},
		},
		syncLine: {
			label: "fsync the sidecar",
			skip:  func(m *Model, s *state, p *process) bool { return m.op(s, p) == 'D' || m.op(s, p) == 'T' },
			do: func(m *Model, s *state, p *process) step {
				s.sidecars[p.slot-1].sync()
				return m.next[syncLine]
			},
			fault: (*Model).giveUp, // the file is abandoned: whether the line counts, the watermark tells
		},
		syncLineLate: {
			label: "no lock in time: fsync the sidecar",
			skip:  func(m *Model, s *state, p *process) bool { return m.op(s, p) != 'T' },
			do: func(m *Model, s *state, p *process) step {
				s.sidecars[p.slot-1].sync()
				return m.next[syncLineLate]
			},
			fault: (*Model).giveUp,
		},
		syncEntryLate: {
			label: "no lock in time: fsync pending/",
			skip:  func(m *Model, s *state, p *process) bool { return m.op(s, p) != 'T' || p.flags&entrySynced != 0 },
			do: func(m *Model, s *state, p *process) step {
				s.syncPending()
				p.flags |= entrySynced
				return m.next[syncEntryLate]
			},
			fault: (*Model).giveUp,
		},
		checkLinked: {
			label: "stat: the sidecar is still linked; journaled or kept pending: acknowledge",
			do: func(m *Model, s *state, p *process) step {
				if s.sidecars[p.slot-1].linked == 0 && m.weak != ackUnlinked {
					m.restart(s, p) // an error, no acknowledgement
					return p.pc
				}
				if m.op(s, p) == 'D' {
					return lockTarget
				}
				s.acked |= 1 << m.current(s, p)
				p.next++
				return m.proceed(s, p)
			},
		},

		lockTarget: {
			label: "1 flock <target>.lock",
			ready: func(m *Model, s *state, p *process) bool { return s.lockTarget == 0 },
			skip:  func(m *Model, s *state, p *process) bool { return m.Inherit },
			do: func(m *Model, s *state, p *process) step {
				s.lockTarget = m.id(s, p)
				return m.next[lockTarget]
			},
		},
		lookForGuard: {
			label: "1 a lone change: is there a guard directory?",
			skip:  func(m *Model, s *state, p *process) bool { return m.op(s, p) != 'L' },
			do: func(m *Model, s *state, p *process) step {
				if s.guardMade == 0 {
					p.flags |= direct
				}
				return m.next[lookForGuard]
			},
		},
		lockGuard: {
			label: "1 flock guard/lock",
			ready: func(m *Model, s *state, p *process) bool { return s.lockGuard == 0 },
			skip:  isDirect,
			do: func(m *Model, s *state, p *process) step {
				s.lockGuard, s.guardMade = m.id(s, p), 1
				return m.next[lockGuard]
			},
		},
		stopDirect: {
			label: "1 <target>.lock is another's: remove a temp that the newest record does not name",
			skip: func(m *Model, s *state, p *process) bool {
				return !m.Inherit || isDirect(m, s, p) || m.directTemp(s) == 0
			},
			do: func(m *Model, s *state, p *process) step {
				s.parent.add(opUnlink, m.directTemp(s), 0)
				return stopDirect
			},
		},
		readState: {
			label: "2 open the target; read commit.0, commit.1, settled",
			do: func(m *Model, s *state, p *process) step {
				p.temp, p.inode = 0, 0
				p.flags &^= dropping | removed
				last := s.newest()
				if last == nil {
					m.release(s, p)
					return stopped
				}
				p.target = s.parent.target
				if isDirect(m, s, p) {
					p.lines, p.after = 0, 0
					return createTemp
				}
				if s.settled == last.gen {
					p.marks = last.after
					return m.collect
				}
				return m.next[readState]
			},
		},
		rewriteCommit: {
			label: "2 write the newest commit record again, the same bytes in place",
			do: func(m *Model, s *state, p *process) step {
				s.commits[m.file(s.newest().gen)].dirty = 1
				return m.next[rewriteCommit]
			},
		},
		syncOldCommit: {
			label: "2 fsync the newest commit record",
			do: func(m *Model, s *state, p *process) step {
				s.commits[m.file(s.newest().gen)].sync()
				return m.next[syncOldCommit]
			},
			fault: func(m *Model, s *state, p *process) {
				s.commits[m.file(s.newest().gen)].dirty = 0
				m.giveUp(s, p)
			},
		},
		judgeTemp: {
			label: "2 look for the temp of the newest record: did its rename happen?",
			do: func(m *Model, s *state, p *process) step {
				last := s.newest()
				if !m.happened(s, p, last) {
					p.marks = last.before
					return m.collect
				}
				p.marks = last.after
				return m.next[judgeTemp]
			},
		},
		touchParent: {
			// Who comes after a fold whose fsync of the parent failed does not know that it did.
			label: "2 it happened: create an empty temp, so that an fsync of the parent has something to do",
			skip:  func(m *Model, s *state, p *process) bool { return !m.ParentLies },
			do: func(m *Model, s *state, p *process) step {
				inode, name := s.fresh()
				s.inodes[inode] = 0
				s.parent.add(opCreate, name, inode)
				return m.next[touchParent]
			},
		},
		syncParentHappened: {
			label: "2 it happened: fsync the parent",
			do: func(m *Model, s *state, p *process) step {
				s.parent.sync()
				return m.next[syncParentHappened]
			},
			fault: (*Model).parentFault,
		},
		writeSettledHappened: {
			label: "2 write settled",
			do: func(m *Model, s *state, p *process) step {
				s.settled = s.newest().gen
				return m.next[writeSettledHappened]
			},
		},
		listPending: {
			label: "3 list pending/",
			do: func(m *Model, s *state, p *process) step {
				p.names, p.cursor, p.lines, p.after = 0, 0, 0, 0
				for i, c := range s.sidecars {
					p.names |= c.linked << i
					if p.marks.of(i) > 0 && c.linked == 0 {
						p.flags |= dropping
					}
				}
				return m.next[listPending]
			},
		},
		readSidecar: {
			label: "3 open and read one sidecar",
			skip:  func(m *Model, s *state, p *process) bool { return p.names>>p.cursor == 0 },
			do: func(m *Model, s *state, p *process) step {
				slot := p.nextName()
				p.cursor = uint8(slot) + 1
				c := s.sidecars[slot]
				if c.linked == 0 {
					// Its owner left between the listing and the opening.
					p.names &^= 1 << slot
					if p.marks.of(slot) > 0 && m.weak != dropVanished {
						p.flags |= dropping
					}
					return readSidecar
				}
				seq := p.marks.of(slot)
				for seq < 3 && c.lines>>seq&1 == 1 {
					p.lines |= 1 << (int(c.first) + seq)
					seq++
				}
				p.after = p.after.set(slot, seq)
				return readSidecar
			},
			fault: func(m *Model, s *state, p *process) {
				// EMFILE, EACCES: what cannot be read is neither folded nor removed, and keeps its watermark.
				slot := p.nextName()
				p.cursor = uint8(slot) + 1
				p.names &^= 1 << slot
				if m.weak != dropUnreadable {
					p.after = p.after.set(slot, p.marks.of(slot))
				}
				m.arrive(s, p, readSidecar)
			},
		},
		syncPendingDropped: {
			label: "3 a watermark has no file any more: fsync pending/",
			skip:  func(m *Model, s *state, p *process) bool { return p.flags&dropping == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.syncPending()
				return m.next[syncPendingDropped]
			},
			fault: (*Model).giveUp,
		},
		writeQuarantine: {
			label: "4 write the refused change to quarantine",
			skip:  func(m *Model, s *state, p *process) bool { return p.lines&m.refused == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.quarantine |= p.lines & m.refused
				return m.next[writeQuarantine]
			},
		},
		syncQuarantine: {
			label: "4 fsync quarantine and conflict log",
			skip:  func(m *Model, s *state, p *process) bool { return p.lines&m.refused == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.quarantineDisk |= s.quarantine & p.lines
				return m.next[syncQuarantine]
			},
			fault: (*Model).giveUp,
		},
		createTemp: {
			label: "5 create a temp beside the target",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				p.inode, p.temp = s.fresh()
				if m.weak == reuseTempName {
					p.temp = 1
					if s.parent.temps[1] != 0 {
						s.parent.add(opUnlink, 1, 0)
					}
				}
				s.inodes[p.inode] = 0
				s.parent.add(opCreate, p.temp, p.inode)
				return m.next[createTemp]
			},
		},
		writeTemp: {
			label: "5 write the temp",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				s.inodes[p.inode] = m.content(s, p)
				return m.next[writeTemp]
			},
		},
		syncTemp: {
			label: "5 fsync the temp",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				s.inodes[p.inode] |= onDisk
				return m.next[syncTemp]
			},
			fault: func(m *Model, s *state, p *process) {
				s.parent.add(opUnlink, p.temp, 0)
				m.giveUp(s, p)
			},
		},
		lookAgain: {
			label: "5 a direct replace: is there a guard directory by now?",
			skip:  func(m *Model, s *state, p *process) bool { return !isDirect(m, s, p) },
			do: func(m *Model, s *state, p *process) step {
				if s.guardMade == 1 {
					s.parent.add(opUnlink, p.temp, 0)
					return m.withRecord(p)
				}
				return m.next[lookAgain]
			},
		},
		syncParentBefore: {
			label: "5 fsync the parent",
			skip:  func(m *Model, s *state, p *process) bool { return nothingChanges(m, s, p) || isDirect(m, s, p) },
			do: func(m *Model, s *state, p *process) step {
				s.parent.sync()
				return m.next[syncParentBefore]
			},
			fault: (*Model).parentFault,
		},
		writeCommit: {
			label: "6 write the other commit record",
			skip:  func(m *Model, s *state, p *process) bool { return nothingToDo(m, s, p) || isDirect(m, s, p) },
			do: func(m *Model, s *state, p *process) step {
				gen := s.newest().gen + 1
				c := &s.commits[m.file(gen)]
				c.cache = record{before: p.marks, after: p.after, gen: gen, valid: 1}
				if !nothingChanges(m, s, p) {
					c.cache.temp, c.cache.from, c.cache.to = p.temp, p.target, p.inode
				}
				c.dirty = 1
				return m.next[writeCommit]
			},
		},
		syncNewCommit: {
			label: "6 fsync it",
			skip:  func(m *Model, s *state, p *process) bool { return nothingToDo(m, s, p) || isDirect(m, s, p) },
			do: func(m *Model, s *state, p *process) step {
				s.commits[m.file(s.newest().gen)].sync()
				return m.next[syncNewCommit]
			},
			fault: func(m *Model, s *state, p *process) {
				s.commits[m.file(s.newest().gen)].dirty = 0
				m.giveUp(s, p)
			},
		},
		checkTarget: {
			label: "7 stat: the target is the version that was read",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				if s.parent.target != p.target {
					if m.weak == removeTempOnError {
						s.parent.add(opUnlink, p.temp, 0)
					}
					return readState
				}
				return m.next[checkTarget]
			},
		},
		rename: {
			label: "7 rename the temp over the target",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				if s.parent.temps[p.temp] != p.inode { // ENOENT
					return m.withRecord(p)
				}
				s.parent.add(opRename, p.temp, p.inode)
				return m.next[rename]
			},
		},
		syncParentAfter: {
			label: "7 fsync the parent",
			skip:  nothingChanges,
			do: func(m *Model, s *state, p *process) step {
				s.parent.sync()
				return m.next[syncParentAfter]
			},
			fault: (*Model).parentFault,
		},
		writeSettled: {
			label: "7 write settled",
			skip:  func(m *Model, s *state, p *process) bool { return nothingToDo(m, s, p) || isDirect(m, s, p) },
			do: func(m *Model, s *state, p *process) step {
				s.settled = s.newest().gen
				return m.next[writeSettled]
			},
		},
		sweepTemps: {
			label: "8 remove another temp",
			skip:  func(m *Model, s *state, p *process) bool { return isDirect(m, s, p) || m.needlessTemp(s) == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.parent.add(opUnlink, m.needlessTemp(s), 0)
				return sweepTemps
			},
		},
		lockSidecar: {
			label: "8 flock a dead process's sidecar, read its end again",
			skip: func(m *Model, s *state, p *process) bool {
				p.cursor = uint8(m.needlessSidecar(s, p))
				return p.cursor == maxChanges
			},
			do: func(m *Model, s *state, p *process) step {
				p.cursor = uint8(m.needlessSidecar(s, p))
				return m.next[lockSidecar]
			},
		},
		unlinkSidecar: {
			label: "8 remove it: all of it is under the watermark",
			skip:  func(m *Model, s *state, p *process) bool { return p.cursor == maxChanges },
			do: func(m *Model, s *state, p *process) step {
				s.sidecars[p.cursor].link(0)
				p.names &^= 1 << p.cursor
				p.flags |= removed
				return lockSidecar
			},
		},
		syncPendingSwept: {
			label: "8 fsync pending/",
			skip:  func(m *Model, s *state, p *process) bool { return p.flags&removed == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.syncPending()
				p.flags &^= removed
				return m.next[syncPendingSwept]
			},
			fault: (*Model).giveUp,
		},
		truncateOwn: {
			label: "8 cut the own sidecar back to its header",
			skip: func(m *Model, s *state, p *process) bool {
				return !m.Truncate || p.slot == 0 || s.sidecars[p.slot-1].lines == 0 || p.after.of(int(p.slot-1)) < int(p.seq)
			},
			do: func(m *Model, s *state, p *process) step {
				c := &s.sidecars[p.slot-1]
				c.truncate()
				if m.weak == restartSeq && int(p.next)+1 < len(m.programs[m.index(s, p)]) {
					p.seq = 0
					c.first = uint8(m.current(s, p) + 1)
				}
				return m.next[truncateOwn]
			},
		},
		unlock: {
			label: "close both locks",
			do: func(m *Model, s *state, p *process) step {
				m.release(s, p)
				return m.afterFold(s, p)
			},
		},

		closeCheck: {
			label: "leaving: read settled and the newest record: is the own sidecar folded for good?",
			skip:  func(m *Model, s *state, p *process) bool { return p.slot == 0 },
			do: func(m *Model, s *state, p *process) step {
				last := s.newest()
				if last != nil && s.settled == last.gen && last.after.of(int(p.slot-1)) >= int(p.seq) {
					return m.next[closeCheck]
				}
				s.sidecars[p.slot-1].flock = 0
				return done
			},
		},
		unlinkOwn: {
			label: "leaving: remove the own sidecar",
			skip:  func(m *Model, s *state, p *process) bool { return p.slot == 0 },
			do: func(m *Model, s *state, p *process) step {
				s.sidecars[p.slot-1].link(0)
				s.sidecars[p.slot-1].flock = 0
				return done
			},
		},
	}
}

// happened judges from what is there whether the rename of record last took place. p.target is the version read.
func (m *Model) happened(s *state, p *process, last *record) bool {
	if last.temp == 0 {
		return true // the record itself was all there was to do
	}
	same := func(inode uint8) bool { return p.target == inode }
	if m.weak == hashBeforeTemp {
		same = func(inode uint8) bool { return s.inodes[p.target].total() == s.inodes[inode].total() }
	}
	if same(last.to) {
		return true
	}
	found := s.parent.temps[last.temp]
	if m.weak != judgeWithoutTemp && found == last.to && s.inodes[found]&written != 0 {
		return false
	}
	return !same(last.from)
}

// content is what the fold makes: what it read, what was pending, and the own change of an Update.
func (m *Model) content(s *state, p *process) version {
	v := s.inodes[p.target]&^onDisk | written
	for change := range maxChanges {
		if (p.lines&^m.refused)>>change&1 == 1 {
			v = v.with(change)
		}
	}
	if m.carries(s, p) {
		v = v.with(m.current(s, p))
	}
	return v
}

// carries: p brings its change in memory.
func (m *Model) carries(s *state, p *process) bool { return m.op(s, p) == 'U' || m.op(s, p) == 'L' }

// isDirect: p replaces the target under <target>.lock alone, without a record.
func isDirect(_ *Model, _ *state, p *process) bool { return p.flags&direct != 0 }

// withRecord is where a direct replace starts again that must not be one.
func (m *Model) withRecord(p *process) step {
	p.flags &^= direct
	return lockGuard
}

// directTemp is a temporary file that a direct replace may be about to rename; 0 if there is none.
func (m *Model) directTemp(s *state) uint8 {
	last := s.newest()
	for i, inode := range s.parent.temps {
		if inode != 0 && last != nil && uint8(i) != last.temp {
			return uint8(i)
		}
	}
	return 0
}

// nothingChanges: only the watermarks move, because everything pending was refused.
func nothingChanges(m *Model, s *state, p *process) bool {
	return p.lines&^m.refused == 0 && !m.carries(s, p)
}

// nothingToDo: nothing is pending and nothing is brought along; a fold that finds this makes no record.
func nothingToDo(m *Model, s *state, p *process) bool { return p.lines == 0 && !m.carries(s, p) }

// acknowledge is step 7's end: the own change of an Update, or a default-acknowledged one that is now known to
// be in the target for good.
func (m *Model) acknowledge(s *state, p *process) {
	switch m.op(s, p) {
	case 'U', 'L':
		s.acked |= 1 << m.current(s, p)
	case 'D':
		if p.slot != 0 && (p.after.of(int(p.slot-1)) >= int(p.seq) || m.weak == ackPassedOver) {
			s.acked |= 1 << m.current(s, p)
		}
	}
}

// isCovered: p waits for its own change and somebody has folded it, durably.
func (m *Model) isCovered(s *state, p *process) bool {
	return m.op(s, p) == 'D' && p.slot != 0 && p.marks.of(int(p.slot-1)) >= int(p.seq)
}

// seesSettled is the way of a waiter without the lock: the record of the settled generation covers its change.
func (m *Model) seesSettled(s *state, p *process) bool {
	if m.op(s, p) != 'D' {
		return false
	}
	for i := range s.commits {
		r := &s.commits[i].cache
		known := r.valid == 1 && s.settled == r.gen
		if m.weak == waiterBelievesCommit {
			known = r.valid == 1
		}
		if known && r.after.of(int(p.slot-1)) >= int(p.seq) {
			return true
		}
	}
	return false
}

// needlessTemp is a temporary file that the newest record does not name, or that is its second name after a power cut
// that kept the two halves of the rename apart; 0 if there is none.
func (m *Model) needlessTemp(s *state) uint8 {
	last := s.newest()
	for i, inode := range s.parent.temps {
		if inode != 0 && (uint8(i) != last.temp || s.settled == last.gen || m.weak == sweepEvidence) {
			return uint8(i)
		}
	}
	return 0
}

// needlessSidecar is a listed sidecar whose flock is to be had and whose end is under the watermark, maxChanges if there
// is none.
func (m *Model) needlessSidecar(s *state, p *process) int {
	for i, c := range s.sidecars {
		free := c.flock == 0 || m.weak == removeWithoutFlock && c.flock != m.id(s, p)
		if p.names>>i&1 == 1 && c.linked == 1 && free && c.end() <= p.after.of(i) {
			return i
		}
	}
	return maxChanges
}

func (p *process) nextName() int {
	slot := int(p.cursor)
	for p.names>>slot&1 == 0 {
		slot++
	}
	return slot
}

// file is the index of the commit file that a generation is written to.
func (m *Model) file(gen uint8) int {
	if m.weak == singleCommit {
		return 0
	}
	return int(gen & 1)
}

// proceed is where a process goes between two of its operations.
func (m *Model) proceed(s *state, p *process) step {
	switch {
	case m.carries(s, p):
		return lockTarget
	case m.op(s, p) != 0:
		return linkSidecar
	case p.flags&needsFold != 0:
		return lockTarget
	default:
		return closeCheck
	}
}

func (m *Model) afterFold(s *state, p *process) step {
	p.marks, p.after, p.target, p.names, p.cursor, p.lines, p.temp, p.inode = 0, 0, 0, 0, 0, 0, 0, 0
	p.flags &= entrySynced
	if m.op(s, p) != 0 {
		p.next++
	}
	return m.proceed(s, p)
}

// restart: the process is dead, its locks are free, and its program is started again after the change it was at.
func (m *Model) restart(s *state, p *process) {
	m.release(s, p)
	if p.slot != 0 {
		c := &s.sidecars[p.slot-1]
		if c.flock == m.id(s, p) {
			c.flock = 0
			c.forgetIfGone()
		}
	}
	next := p.next
	if int(next) < len(m.programs[m.index(s, p)]) {
		next++
	}
	*p = process{next: next, flags: needsFold}
	m.arrive(s, p, m.proceed(s, p))
}

// giveUp is an operation that failed: nothing is acknowledged, and the process goes on as a new one would.
func (m *Model) giveUp(s *state, p *process) { m.restart(s, p) }

func (m *Model) parentFault(s *state, p *process) {
	if m.ParentLies {
		s.parent.clean = 1
	}
	m.giveUp(s, p)
}

func (m *Model) release(s *state, p *process) {
	id := m.id(s, p)
	if s.lockTarget == id {
		s.lockTarget = 0
	}
	if s.lockGuard == id {
		s.lockGuard = 0
	}
}

// arrive moves p to the next step that makes a system call, from to on.
func (m *Model) arrive(s *state, p *process, to step) {
	for {
		to = m.resolve[to]
		switch {
		case to == ack:
			m.acknowledge(s, p)
		case to == covered:
			if m.isCovered(s, p) {
				s.acked |= 1 << m.current(s, p)
				p.pc = unlock
				return
			}
		case to == done:
			*p = process{next: p.next}
			return
		case transitions[to].skip == nil || !transitions[to].skip(m, s, p):
			p.pc = to
			return
		}
		to = m.next[to]
	}
}
