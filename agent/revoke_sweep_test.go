// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/configdir"
)

// entry writes what an agent before left of a job, and makes its robot.
func (r *robotRig) entry(name, account, host, job string) {
	r.t.Helper()
	dir := filepath.Join(r.state, "revoke")
	mustDo(r.t, os.MkdirAll(dir, 0o700))
	writeText(r.t, filepath.Join(dir, name+".json"), fmt.Sprintf(
		`{"schema":1,"account":%q,"provider":"robots","host":%q,"job":%q,"created":"2026-01-01T00:00:00Z"}`, account, host, job))
	r.robots.set(func() { r.robots.living[name] = job })
}

func jobNumber(n int) string {
	id := fmt.Sprintf("%026b", n)
	return strings.NewReplacer("0", "a", "1", "b").Replace(id)
}

// A registry that is down for a day is asked now and then, not once for each of
// the thousands of things that are to be taken back there.
func TestAnOutageCostsFewQuestionsHoweverMuchIsToBeTakenBack(t *testing.T) {
	t.Parallel()
	const entries = 1000
	r := newRobotRig(t)
	r.state = quickDir(t)
	for i := range entries {
		r.entry(fmt.Sprint("e", i), "harbor", "reg.example", jobNumber(i))
	}
	r.robots.set(func() { r.robots.down = true })
	c := r.agent()
	for range 24 * 12 {
		c.revoked.sweep(t.Context(), nobodyLives)
		r.later(5 * time.Minute)
	}
	if n := r.robots.sweeps; n < 24 || n > 60 {
		t.Fatalf("%d questions in a day", n)
	}
	if st := c.Status(nil).Revocations; len(st) != entries || st[0].Message == "" || st[entries-1].Message == "" || st[0].NextAt == nil {
		t.Fatalf("%d in status, %+v", len(st), st[0])
	}
	r.robots.set(func() { r.robots.down = false })
	r.later(revokeAtMost)
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

// A job that ends meanwhile does not wait for it.
func TestAJobThatEndsDuringAnOutageAsksNobody(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	c := r.agent()
	j := r.open(c)
	getIn(t, c, j, api.OK)
	r.entry("other", "harbor", "reg.example", jobNumber(1))
	r.robots.set(func() { r.robots.down = true })
	c.revoked.sweep(t.Context(), func(id string) bool { return id == j.id })
	before := r.robots.sweeps
	j.close("test")
	c.revoke(j)
	if r.robots.sweeps != before || r.journal() != 2 {
		t.Fatalf("%d questions, %d entries", r.robots.sweeps-before, r.journal())
	}
	r.robots.set(func() { r.robots.down = false })
	r.later(revokeAgain)
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

// An account that is another one by now, or no more, is not asked: its secret is
// not for that host.
func TestEntriesOfAccountsThatMovedAreSentNowhere(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	r.entry("moved", "harbor", "old.example", jobNumber(1))
	r.entry("removed", "gone", "reg.example", jobNumber(2))
	c := r.agent()
	c.revoked.sweep(t.Context(), nobodyLives)
	st := c.Status(nil).Revocations
	if r.robots.sweeps != 0 || r.robots.count() != 2 || len(st) != 2 || !strings.Contains(st[0].Message+st[1].Message, "is not configured any more") || !strings.Contains(st[0].Message+st[1].Message, "is another one") {
		t.Fatalf("%d questions, %+v", r.robots.sweeps, st)
	}
	r.later(revokeKeep)
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 0 {
		t.Fatal("kept for ever")
	}
}

// What no job of ours made is nobody's to take back, whatever a file says.
func TestAJournalIsNoOrderToRevokeAnything(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	for i, job := range []string{"", "*", "ci", "../../x", "%", "abc", strings.Repeat("a", 25), strings.Repeat("A", 26)} {
		r.entry(fmt.Sprint("bad", i), "harbor", "reg.example", job)
	}
	r.entry("nobody", "", "reg.example", jobNumber(1))
	r.entry("nowhere", "harbor", "", jobNumber(1))
	dir := filepath.Join(r.state, "revoke")
	for name, damage := range garbage {
		damage(t, filepath.Join(dir, name+".json"))
	}
	var log bytes.Buffer
	c := r.agent()
	c.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	living := r.robots.count()
	for range 3 {
		c.revoked.sweep(t.Context(), nobodyLives)
		r.later(time.Minute)
	}
	if r.robots.sweeps != 0 || r.robots.count() != living || c.revoked.waits() {
		t.Fatalf("%d questions, %d robots of %d", r.robots.sweeps, r.robots.count(), living)
	}
	if n := strings.Count(log.String(), "is not read"); n != 10+len(garbage) {
		t.Errorf("%d lines in the log\n%s", n, log.String())
	}
}

// A file that lies where an entry belongs does not decide what it is about.
func TestAnEntryThatIsFollowedGivesItsTimesAndNoMore(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	first := r.agent()
	j := r.open(first)
	getIn(t, first, j, api.OK)
	files, _ := filepath.Glob(filepath.Join(r.state, "revoke", "*.json"))
	writeText(t, files[0], `{"schema":1,"account":"harbor","provider":"other","host":"evil.example","job":"`+jobNumber(3)+`","created":"2025-12-01T00:00:00Z"}`)
	second := r.agent()
	j = r.open(second)
	getIn(t, second, j, api.OK)
	j.close("test")
	second.revoke(j)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries; %+v", r.robots.count(), r.journal(), second.Status(nil).Revocations)
	}
}

func TestAClockThatWasWrongDoesNotKeepWhatIsToBeTakenBack(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	right := r.at
	r.at = time2040
	r.entry("e", "harbor", "reg.example", jobNumber(1))
	c := r.agent()
	r.robots.set(func() { r.robots.down = true })
	c.revoked.sweep(t.Context(), nobodyLives) // has Created in 2026: over, by that clock
	if r.journal() != 0 {
		t.Fatal("kept")
	}
	r.robots.set(func() { r.robots.living = map[string]string{} })
	j := r.open(c)
	getIn(t, c, j, api.OK)
	j.close("test")
	c.revoke(j)
	r.at = right
	r.robots.set(func() { r.robots.down = false })
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries: it waits for 2040", r.robots.count(), r.journal())
	}
}

// Two agents may share the state directory: one of a login, one of cron, with
// runtime directories of their own, or on two machines with one home.
func TestAJobOfAnotherAgentKeepsWhatWasMadeForIt(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	dir := short(t)
	first := r.agent()
	first.jobDir = func(id string) string { return filepath.Join(dir, id) }
	j := r.open(first)
	held, err := configdir.Create(dir, j.id)
	mustDo(t, err)
	getIn(t, first, j, api.OK)
	second := r.agent()
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 1 || r.journal() != 1 {
		t.Fatalf("%d robots, %d entries of a job that lives", r.robots.count(), r.journal())
	}
	mustDo(t, held.Close()) // its wrapper is gone, and its agent with it
	elsewhere := r.agent()
	elsewhere.machine = "another one"
	elsewhere.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 1 || r.journal() != 1 {
		t.Fatalf("%d robots, %d entries of a job that may live on another machine", r.robots.count(), r.journal())
	}
	second.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.count() != 0 || r.journal() != 0 {
		t.Fatalf("%d robots, %d entries", r.robots.count(), r.journal())
	}
}

// What another machine has made is left to it until it has ended.
func TestEntriesOfAnotherMachineAreNotKeptForEver(t *testing.T) {
	t.Parallel()
	r := newRobotRig(t)
	c := r.agent()
	c.machine = "this one"
	r.entry("e", "harbor", "reg.example", jobNumber(1))
	path := filepath.Join(r.state, "revoke", "e.json")
	text, err := os.ReadFile(path)
	mustDo(t, err)
	writeText(t, path, strings.Replace(string(text), "{", `{"machine":"another one","expires_at":"2026-01-01T01:00:00Z",`, 1))
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.robots.sweeps != 0 || r.journal() != 1 {
		t.Fatalf("%d questions, %d entries", r.robots.sweeps, r.journal())
	}
	r.later(2 * time.Hour)
	c.revoked.sweep(t.Context(), nobodyLives)
	if r.journal() != 0 {
		t.Fatal("an entry of another machine is kept for ever")
	}
}
