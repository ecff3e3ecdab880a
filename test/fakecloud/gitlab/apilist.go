// SPDX-License-Identifier: Apache-2.0

package gitlab

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/regmint/regmint/test/fakecloud"
)

// findProject is the project of an id or path that the caller sees. Callers hold mu.
func (g *GitLab) findProject(c *call, id string) *Project {
	for _, p := range g.projects {
		if (strconv.Itoa(p.ID) == id || strings.EqualFold(p.Path, id)) && g.sees(c.user, p) {
			return p
		}
	}
	return nil
}

func (g *GitLab) findGroup(c *call, id string) *Group {
	for _, gr := range g.groups {
		if (strconv.Itoa(gr.ID) == id || strings.EqualFold(gr.Path, id)) && (c.admin || g.groupLevel(c.user, gr.Path) > 0) {
			return gr
		}
	}
	return nil
}

// page writes one page of a list, 20 entries unless per_page says otherwise.
func page[T any](c *call, all []T) {
	per, n := 20, 1
	if v, err := strconv.Atoi(c.form.Get("per_page")); err == nil && v > 0 {
		per = min(v, 100)
	}
	if v, err := strconv.Atoi(c.form.Get("page")); err == nil && v > 0 {
		n = v
	}
	pages := max(1, (len(all)+per-1)/per)
	h := c.w.Header()
	h.Set("X-Total", strconv.Itoa(len(all)))
	h.Set("X-Total-Pages", strconv.Itoa(pages))
	h.Set("X-Page", strconv.Itoa(n))
	h.Set("X-Per-Page", strconv.Itoa(per))
	h.Set("X-Next-Page", "")
	if n < pages {
		h.Set("X-Next-Page", strconv.Itoa(n+1))
		q := c.URL.Query()
		q.Set("page", strconv.Itoa(n+1))
		q.Set("per_page", strconv.Itoa(per))
		h.Set("Link", fmt.Sprintf(`<https://%s%s?%s>; rel="next"`, c.Host, c.URL.EscapedPath(), q.Encode()))
	}
	from := min((n-1)*per, len(all))
	out := make([]T, 0, per)
	fakecloud.WriteJSON(c.w, http.StatusOK, append(out, all[from:min(from+per, len(all))]...))
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

const dateForm = "2006-01-02"

func stamp(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}
