package model

// weakness is a step done carelessly, where taking it out or moving it does not say it. The protocol looks at it in the one
// place that it concerns.
type weakness uint8

const (
	_                    weakness = iota
	reuseSidecarName              // a name made of host and pid, or of the target's name
	restartSeq                    // after a truncation seqs begin at 1 again
	singleCommit                  // commit.0 only
	reuseTempName                 // <target>.tmp
	judgeWithoutTemp              // target is the new version: happened; is the version read: not; else happened
	hashBeforeTemp                // versions are told by the hash of their content even where the temp is there
	sweepEvidence                 // every temp is removed, also the one that the newest record names
	removeTempOnError             // a fold that finds the target replaced tidies up before it starts again
	removeWithoutFlock            // "all of it is under the watermark" is enough to remove a sidecar
	waiterBelievesCommit          // a waiter without the lock looks at the records, not at settled
	dropVanished                  // a sidecar that was listed, and gone when opened, counts as present
	dropUnreadable                // a sidecar that could not be opened does not carry its watermark on
	ackUnlinked                   // nobody looks whether the sidecar is still there
	ackPassedOver                 // a waiter takes the end of its own fold for the folding of its change
)

type move struct{ step, before step }

// Variant is the protocol with one thing wrong: a step taken out, moved, or done carelessly.
type Variant struct {
	Name    string
	Without []step
	Move    []move
	weak    weakness
	World   Config // in which it is found
	Finds   Breach // what it does there
}

func crash(programs ...string) Config { return Config{Programs: programs, Kills: 1, Losses: 1} }

func killOnly(programs ...string) Config { return Config{Programs: programs, Kills: 1} }

func lossOnly(programs ...string) Config { return Config{Programs: programs, Losses: 1} }

func (c Config) outsider() Config { c.Outsiders = 1; return c }
func (c Config) fault() Config    { c.Faults = 1; return c }
func (c Config) truncate() Config { c.Truncate = true; return c }
func (c Config) inherit() Config  { c.Inherit = true; return c }
func (c Config) parentLies() Config {
	c.Faults, c.ParentLies = 1, true
	return c
}

// Variants are the ways to be wrong. Each one loses, doubles or tears something in its world.
var Variants = []Variant{
	// Step 5: the temp.
	{Name: "the temp is not synced", Without: []step{syncTemp}, World: lossOnly("U"), Finds: Torn},
	{Name: "the parent is not synced before the commit", Without: []step{syncParentBefore}, World: lossOnly("J", "U").outsider(), Finds: Lost},
	{Name: "a temp name is used again", weak: reuseTempName, World: killOnly("J", "U").outsider(), Finds: Lost},

	// Step 6: the commit.
	{Name: "the commit is not synced", Without: []step{syncNewCommit}, World: lossOnly("J"), Finds: Twice},
	{Name: "the commit is written before the temp is synced", Move: []move{{syncTemp, checkTarget}}, World: lossOnly("J").outsider(), Finds: Lost},
	{Name: "the commit is synced after the rename", Move: []move{{syncNewCommit, syncParentAfter}}, World: lossOnly("J"), Finds: Twice},
	{Name: "one commit file instead of two", weak: singleCommit, World: lossOnly("J"), Finds: Stuck},
	{Name: "the rename comes before the commit", Move: []move{{checkTarget, writeCommit}, {rename, writeCommit}}, World: killOnly("J"), Finds: Twice},
	{Name: "a refused change passes its watermark before quarantine is synced", Without: []step{syncQuarantine}, World: lossOnly("R"), Finds: Lost},

	// Step 7: the rename.
	{Name: "the target is not looked at before the rename", Without: []step{checkTarget}, World: Config{Programs: []string{"J"}}.outsider(), Finds: Lost},
	{Name: "the parent is not synced after the rename", Without: []step{syncParentAfter}, World: lossOnly("U"), Finds: Lost},
	{Name: "an Update is acknowledged before the parent is synced", Move: []move{{ack, syncParentAfter}}, World: lossOnly("U"), Finds: Lost},
	{Name: "settled is written before the parent is synced", Move: []move{{writeSettled, syncParentAfter}}, World: lossOnly("D", "J"), Finds: Lost},
	{Name: "settled is written before the rename", Move: []move{{writeSettled, checkTarget}}, World: killOnly("J", "U"), Finds: Lost},
	{Name: "a waiter believes a commit that is not settled", weak: waiterBelievesCommit, World: lossOnly("D", "U"), Finds: Lost},

	// Step 8: what is removed.
	{Name: "sidecars are removed before the parent is synced", Move: []move{{lockSidecar, syncParentAfter}, {unlinkSidecar, syncParentAfter}}, World: crash("J", "U"), Finds: Lost},
	{Name: "a sidecar is removed without its flock", weak: removeWithoutFlock, World: Config{Programs: []string{"JJ", "U"}}, Finds: Lost},
	{Name: "the own sidecar is cut back before settled", Move: []move{{truncateOwn, syncParentAfter}}, World: lossOnly("J").truncate(), Finds: Lost},
	{Name: "recovery removes the temp that the newest commit names", Move: []move{{sweepTemps, listPending}}, weak: sweepEvidence, World: killOnly("J", "U").outsider(), Finds: Lost},
	{Name: "a fold that finds the target replaced removes its temp", weak: removeTempOnError, World: Config{Programs: []string{"J"}}.outsider(), Finds: Lost},

	// Step 2: did it happen?
	{Name: "an unsettled commit is not synced", Without: []step{rewriteCommit, syncOldCommit}, World: crash("J", "U"), Finds: Stuck},
	{Name: "an unsettled commit is synced, not written again", Without: []step{rewriteCommit}, World: lossOnly("J", "J").fault(), Finds: Twice},
	{Name: "a rename that happened is built upon unsynced", Without: []step{syncParentHappened}, World: crash("J", "U"), Finds: Lost},
	{Name: "a rename whose sync failed counts as synced at the next try", Without: []step{touchParent}, World: lossOnly("J").parentLies(), Finds: Lost},
	{Name: "the temp is no evidence", weak: judgeWithoutTemp, World: killOnly("J", "U").outsider(), Finds: Lost},
	{Name: "the hash is believed before the temp", weak: hashBeforeTemp, World: killOnly("J", "U").outsider(), Finds: Lost},

	// Step 3: watermarks.
	{Name: "a watermark is dropped without a sync of pending/", Without: []step{syncPendingDropped}, World: crash("J", "U"), Finds: Twice},
	{Name: "a watermark is dropped for a sidecar that vanished while it was listed", weak: dropVanished, World: lossOnly("J", "U"), Finds: Twice},
	{Name: "a watermark is dropped for a sidecar that cannot be opened", weak: dropUnreadable, World: Config{Programs: []string{"J", "UU"}}.fault(), Finds: Twice},

	// The sidecar.
	{Name: "a journaled change is acknowledged before the sidecar is synced", Without: []step{syncLine}, World: lossOnly("J"), Finds: Lost},
	{Name: "a journaled change is acknowledged before pending/ is synced", Without: []step{syncEntry}, World: lossOnly("J"), Finds: Lost},
	{Name: "a change is said to be kept pending before its sidecar is synced", Without: []step{syncLineLate}, World: lossOnly("T"), Finds: Lost},
	{Name: "a change is said to be kept pending before pending/ is synced", Without: []step{syncEntryLate}, World: lossOnly("T"), Finds: Lost},
	{Name: "a waiter whose sidecar could not be read is acknowledged by its own fold", weak: ackPassedOver, World: lossOnly("D").fault(), Finds: Lost},
	{Name: "a sidecar's name is used again", weak: reuseSidecarName, World: killOnly("JJJ", "U"), Finds: Lost},
	{Name: "seqs begin again after a truncation", weak: restartSeq, World: Config{Programs: []string{"DJ"}}.truncate(), Finds: Lost},

	// Step 1: the lock.
	{Name: "no guard lock under an inherited target lock", Without: []step{lockGuard}, World: Config{Programs: []string{"J", "U"}}.inherit(), Finds: Twice},
	{Name: "who borrows the lock leaves a temp of who holds it", Without: []step{stopDirect}, World: Config{Programs: []string{"L", "U"}}.inherit(), Finds: Lost},
	{Name: "a direct replace does not look for a guard directory again", Without: []step{lookAgain}, World: Config{Programs: []string{"L", "U"}}.inherit(), Finds: Lost},
}

// Harmless are changes of the order that were expected to matter and do not, in the worlds that were searched. They are
// kept so that nobody takes them for a discovery, and because a step may still be wanted for another reason.
var Harmless = []Variant{
	// The flock, not this check, protects a live sidecar from the folder; the check is for "rm -r" of the guard directory,
	// which is not in the model.
	{Name: "no look whether the sidecar is still linked", weak: ackUnlinked},
	// Step 3 syncs pending/ again before it drops a watermark.
	{Name: "pending/ is not synced after step 8", Without: []step{syncPendingSwept}},
}
