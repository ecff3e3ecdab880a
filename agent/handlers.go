// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"net/http"

	"github.com/regmint/regmint/agent/api"
	"github.com/regmint/regmint/agent/minter"
	"github.com/regmint/regmint/agent/store"
	"github.com/regmint/regmint/providers"
)

func (a *Agent) handleGet(w http.ResponseWriter, r *http.Request) {
	var req api.GetRequest
	if !readWith(w, r, maxBody, func(b []byte) error { return api.ParseGetRequest(b, &req) }) {
		return
	}
	a.touch()
	resp := a.core.Get(r.Context(), infoOf(r).job, &req)
	send(w, http.StatusOK, api.EncodeGetResponse(resp))
}

func (a *Agent) handleCheck(w http.ResponseWriter, r *http.Request) {
	var req api.GetRequest
	if !readWith(w, r, maxBody, func(b []byte) error { return api.ParseGetRequest(b, &req) }) {
		return
	}
	a.touch()
	reply(w, http.StatusOK, a.core.Check(r.Context(), infoOf(r).job, &req))
}

func (a *Agent) handleStore(w http.ResponseWriter, r *http.Request) {
	var l api.Login
	if !read(w, r, maxBody, &l) {
		return
	}
	a.touch()
	a.core.count.stores.Add(1)
	reply(w, http.StatusOK, a.core.Store(r.Context(), infoOf(r).job, l))
}

func (a *Agent) handleErase(w http.ResponseWriter, r *http.Request) {
	var l api.Login
	if !read(w, r, maxBody, &l) {
		return
	}
	a.touch()
	a.core.count.erases.Add(1)
	reply(w, http.StatusOK, a.core.Erase(r.Context(), infoOf(r).job, l))
}

func (a *Agent) handleList(w http.ResponseWriter, r *http.Request) {
	var req api.ListRequest
	if r.ContentLength != 0 && !read(w, r, maxBody, &req) { // older helpers send none
		return
	}
	a.core.count.lists.Add(1)
	reply(w, http.StatusOK, a.core.List(infoOf(r).job, req))
}

func (a *Agent) handleRefresh(w http.ResponseWriter, r *http.Request) {
	var req api.HostRequest
	if !read(w, r, maxBody, &req) {
		return
	}
	a.touch()
	reply(w, http.StatusOK, a.core.Refresh(infoOf(r).job, req))
}

func (a *Agent) handleStatus(w http.ResponseWriter, r *http.Request) {
	j := infoOf(r).job
	st := a.core.Status(j)
	st.PID, st.Started, st.Socket = a.o.PID, a.started.UTC(), a.o.Paths.MainSocket()
	st.Jobs = a.jobStatus(j)
	if h, err := providers.ParseHost(r.URL.Query().Get("host")); err == nil && j.allows(h) {
		st.RateLimits = a.core.RateLimits(r.Context(), j, h)
	}
	if w := a.binaryChanged(); w != "" {
		st.Warnings = append(st.Warnings, w)
	}
	reply(w, http.StatusOK, st)
}

func (a *Agent) handleRecent(w http.ResponseWriter, r *http.Request) {
	all := a.core.recent.all()
	if j := infoOf(r).job; j != nil {
		own := all[:0]
		for _, e := range all {
			if e.Job == j.id {
				own = append(own, e)
			}
		}
		all = own
	}
	reply(w, http.StatusOK, all)
}

func (a *Agent) handleReload(w http.ResponseWriter, _ *http.Request) {
	if err := a.core.Reload(); err != nil {
		reply(w, http.StatusOK, failed(providers.Host{}, err))
		return
	}
	reply(w, http.StatusOK, &api.Reply{Outcome: api.OK, Version: api.BuildVersion})
}

func (a *Agent) handleLock(w http.ResponseWriter, _ *http.Request) {
	l, ok := a.core.locker()
	if !ok {
		reply(w, http.StatusOK, failedText(providers.Misconfigured, "this store has no lock of its own; protect it with: regmint unlock --set-passphrase"))
		return
	}
	l.Lock()
	a.core.mint.Drop(func(minter.ID) bool { return true })
	reply(w, http.StatusOK, &api.Reply{Outcome: api.OK, Message: "locked; nothing is kept in memory"})
}

func (a *Agent) handleUnlock(w http.ResponseWriter, r *http.Request) {
	var req api.HostRequest
	if !read(w, r, maxBody, &req) {
		return
	}
	a.touch()
	l, ok := a.core.locker()
	if !ok {
		reply(w, http.StatusOK, failedText(providers.Misconfigured, "this store has no passphrase"))
		return
	}
	pass := providers.NewSecret(req.Passphrase)
	var err error
	if req.Force { // set or change
		err = l.SetPassphrase(r.Context(), pass)
	} else {
		err = l.Unlock(r.Context(), pass)
	}
	if err != nil {
		kind := providers.Unavailable
		if errors.Is(err, store.ErrLocked) {
			kind = providers.LoginRequired
		}
		reply(w, http.StatusOK, failedText(kind, err.Error()))
		return
	}
	a.core.mint.ForgetFailures(func(minter.ID) bool { return true })
	a.core.clearFailures()
	reply(w, http.StatusOK, &api.Reply{Outcome: api.OK})
}

func (a *Agent) handleStop(w http.ResponseWriter, r *http.Request) {
	var req api.HostRequest
	if !read(w, r, maxBody, &req) {
		return
	}
	if !req.Force {
		if n := a.running(r.Context()); n > 0 {
			reply(w, http.StatusOK, failedText(providers.Denied, jobsOpen(n)))
			return
		}
	}
	w.Header().Set("Connection", "close")
	reply(w, http.StatusOK, &api.Reply{Outcome: api.OK})
	if req.Force {
		a.jobs.closeAll("the agent was stopped")
	}
	a.stop("stop was asked for")
}

func (a *Agent) handleHandover(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Connection", "close")
	reply(w, http.StatusOK, &api.Reply{Outcome: api.OK})
	a.handover("another agent takes over")
}

func (a *Agent) handleMetrics(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4")
	a.core.Metrics(w, a.jobs.count())
}
