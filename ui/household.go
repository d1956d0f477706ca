package ui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

// A Household is what a person makes of the devices: *devices.Model is one.
type Household interface {
	SetDevice(t *mqtt.Turn, deviceID string, to devices.Personal) error
	// Forget takes a device out of the house; Undo takes that back for a while.
	Forget(t *mqtt.Turn, deviceID string) error
	Undo(t *mqtt.Turn, deviceID string) error
	AddGroup(t *mqtt.Turn, g devices.Group) (id string, err error)
	SetGroup(t *mqtt.Turn, id string, g devices.Group) error
	RemoveGroup(t *mqtt.Turn, id string) error
	CommandGroup(t *mqtt.Turn, id, command string, args map[string]devices.Value) error
	EditArea(t *mqtt.Turn, name string, to devices.Area) error
	RemoveArea(t *mqtt.Turn, name string) error
	// Gateways are the Zigbee2MQTTs; what is asked of them is answered later.
	Gateways() []*devices.Gateway
	PermitJoin(t *mqtt.Turn, base string, d time.Duration, done func(*mqtt.Turn, error)) error
	Rename(t *mqtt.Turn, deviceID, name string, done func(*mqtt.Turn, error)) error
	Remove(t *mqtt.Turn, deviceID string, force bool, done func(*mqtt.Turn, error)) error
}

var (
	errNoRoom  = &failure{http.StatusNotFound, "There is no such room", "It may have another name by now."}
	errNoGroup = &failure{http.StatusNotFound, "There is no such group", "It may have been removed."}
)

// askWithin is how long a page waits for the answer of a gateway.
const askWithin = 10 * time.Second

func (s *Server) showRooms(w http.ResponseWriter, r *http.Request) error {
	return s.roomsPage(w, r, http.StatusOK, view.Form{})
}

func (s *Server) roomsPage(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	h := s.Model.House()
	return s.render(w, r, status, view.RoomsPage(s.page(r, "Rooms and groups", "settings"), view.Floors(h), h.Groups(), f))
}

// readArea reads a room out of a form.
func readArea(f url.Values) devices.Area {
	return devices.Area{Name: clean(f.Get("name")), Floor: clean(f.Get("floor")), Icon: f.Get("icon")}
}

// refused notes in a form why something was not taken. ok is false if it is
// no person's mistake.
func refused(f *view.Form, err error) (ok bool) {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	f.Errors = map[string]string{"": upper(err.Error()) + "."}
	return true
}

// mistake runs fn as a turn and tells what fn itself said apart from what went
// wrong with the turn.
func (s *Server) mistake(r *http.Request, fn func(t *mqtt.Turn) error) (mistake, err error) {
	err = s.House.Do(r.Context(), func(t *mqtt.Turn) error {
		mistake = fn(t)
		return mistake
	})
	if mistake != nil {
		return mistake, nil
	}
	return nil, err
}

func (s *Server) addRoom(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	a := readArea(r.PostForm)
	wrong, err := s.mistake(r, func(t *mqtt.Turn) error { return s.Model.EditArea(t, "", a) })
	if err != nil {
		return err
	}
	f := view.Form{Values: r.PostForm}
	if wrong != nil && refused(&f, wrong) {
		return s.roomsPage(w, r, http.StatusUnprocessableEntity, f)
	}
	return s.done(w, r, "/rooms", a.Name+" was added.", false)
}

func (s *Server) showRoom(w http.ResponseWriter, r *http.Request) error {
	return s.roomPage(w, r, http.StatusOK, view.Form{})
}

func (s *Server) roomPage(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	name := r.PathValue("name")
	p := s.page(r, name, "home")
	s.follow(&p, "room:"+url.QueryEscape(name))
	h := s.Model.House()
	if !slices.Contains(view.RoomsOf(h), name) {
		return errNoRoom
	}
	a := h.Area(name)
	if f.Values == nil {
		f.Values = url.Values{"name": {a.Name}, "floor": {a.Floor}, "icon": {a.Icon}}
	}
	return s.render(w, r, status, view.RoomPage(p, a, view.InRoom(h, name, maxRows), view.Floors(h), f))
}

func (s *Server) editRoom(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	name, a := r.PathValue("name"), readArea(r.PostForm)
	if !slices.Contains(view.RoomsOf(s.Model.House()), name) {
		return errNoRoom
	}
	wrong, err := s.mistake(r, func(t *mqtt.Turn) error { return s.Model.EditArea(t, name, a) })
	if err != nil {
		return err
	}
	f := view.Form{Values: r.PostForm}
	if wrong != nil && refused(&f, wrong) {
		return s.roomPage(w, r, http.StatusUnprocessableEntity, f)
	}
	return s.done(w, r, "/rooms/"+url.PathEscape(a.Name), "Saved.", false)
}

func (s *Server) removeRoom(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if err := s.House.Do(r.Context(), func(t *mqtt.Turn) error { return s.Model.RemoveArea(t, name) }); err != nil {
		return err
	}
	return s.done(w, r, "/rooms", name+" was removed.", false)
}

// readGroup reads a group out of a form.
func readGroup(f url.Values) devices.Group {
	return devices.Group{Name: clean(f.Get("name")), Area: clean(f.Get("room")), Icon: f.Get("icon"),
		Favourite: f.Get("favourite") != "", Members: f["member"]}
}

func (s *Server) showNewGroup(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, view.NewGroupPage(s.page(r, "A new group", "settings"), view.Form{}, s.Model.House()))
}

func (s *Server) addGroup(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	id := ""
	wrong, err := s.mistake(r, func(t *mqtt.Turn) (err error) {
		id, err = s.Model.AddGroup(t, readGroup(r.PostForm))
		return err
	})
	if err != nil {
		return err
	}
	f := view.Form{Values: r.PostForm}
	if wrong != nil && refused(&f, wrong) {
		return s.render(w, r, http.StatusUnprocessableEntity, view.NewGroupPage(s.page(r, "A new group", "settings"), f, s.Model.House()))
	}
	return s.done(w, r, "/groups/"+url.PathEscape(id), "The group was made.", false)
}

func (s *Server) showGroup(w http.ResponseWriter, r *http.Request) error {
	return s.groupPage(w, r, http.StatusOK, view.Form{})
}

func (s *Server) groupPage(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	id := r.PathValue("id")
	p := s.page(r, "", "home")
	s.follow(&p, "group:"+id)
	h := s.Model.House()
	g := h.Group(id)
	if g == nil {
		return errNoGroup
	}
	p.Title = g.Name
	if f.Values == nil {
		f.Values = url.Values{"name": {g.Name}, "room": {g.Area}, "icon": {g.Icon}, "member": g.Members}
		if g.Favourite {
			f.Values.Set("favourite", "yes")
		}
	}
	return s.render(w, r, status, view.GroupPage(p, g, h.GroupCommands(g), h.Members(g), f, h))
}

func (s *Server) editGroup(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	id := r.PathValue("id")
	if s.Model.House().Group(id) == nil {
		return errNoGroup
	}
	wrong, err := s.mistake(r, func(t *mqtt.Turn) error { return s.Model.SetGroup(t, id, readGroup(r.PostForm)) })
	if err != nil {
		return err
	}
	f := view.Form{Values: r.PostForm}
	if wrong != nil && refused(&f, wrong) {
		return s.groupPage(w, r, http.StatusUnprocessableEntity, f)
	}
	return s.done(w, r, "/groups/"+url.PathEscape(id), "Saved.", false)
}

func (s *Server) removeGroup(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	g := s.Model.House().Group(id)
	if g == nil {
		return errNoGroup
	}
	if err := s.House.Do(r.Context(), func(t *mqtt.Turn) error { return s.Model.RemoveGroup(t, id) }); err != nil {
		return err
	}
	return s.done(w, r, "/rooms#groups", g.Name+" was removed.", false)
}

// doGroup gives a command to all members of a group.
func (s *Server) doGroup(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	h := s.Model.House()
	g := h.Group(r.PathValue("id"))
	if g == nil {
		return errNoGroup
	}
	commands := h.GroupCommands(g)
	i := slices.IndexFunc(commands, func(c devices.Command) bool { return c.Name == r.PostForm.Get("command") })
	if i < 0 {
		return &failure{http.StatusUnprocessableEntity, g.Name + " cannot do that", "Nothing was changed."}
	}
	args, err := arguments(commands[i], r.PostForm.Get)
	if err != nil {
		return &failure{http.StatusUnprocessableEntity, g.Name + ": " + err.Error(), "Nothing was changed."}
	}
	ctx, cancel := context.WithTimeout(r.Context(), commandTimeout)
	defer cancel()
	for _, e := range h.Members(g) {
		s.live.hurry(e.ID)
	}
	if err := s.House.Do(ctx, func(t *mqtt.Turn) error { return s.Model.CommandGroup(t, g.ID, commands[i].Name, args) }); err != nil {
		s.Log.Warn("command not given", "group", g.ID, "command", commands[i].Name, "err", err)
		return &failure{http.StatusServiceUnavailable, "Not all of " + g.Name + " could be told", "Try again."}
	}
	http.Redirect(w, r, here(r, "/groups/"+url.PathEscape(g.ID)), http.StatusSeeOther)
	return nil
}

// forgetDevice takes a device out of the house; the notice takes it back.
func (s *Server) forgetDevice(w http.ResponseWriter, r *http.Request) error {
	d := s.Model.House().Device(r.PathValue("id"))
	if d == nil {
		return errNoDevice
	}
	if err := s.House.Do(r.Context(), func(t *mqtt.Turn) error { return s.Model.Forget(t, d.ID) }); err != nil {
		return err
	}
	s.notice(who(r).token, view.Notice{Text: d.Name + " is forgotten. For 30 seconds that can be taken back.", Undo: "/devices/" + url.PathEscape(d.ID) + "/undo"})
	http.Redirect(w, r, "/devices", http.StatusSeeOther)
	return nil
}

func (s *Server) undoForget(w http.ResponseWriter, r *http.Request) error {
	id := r.PathValue("id")
	wrong, err := s.mistake(r, func(t *mqtt.Turn) error { return s.Model.Undo(t, id) })
	if err != nil {
		return err
	}
	if wrong != nil {
		return s.done(w, r, "/devices", "It is too late to take that back.", true)
	}
	return s.done(w, r, "/devices/"+url.PathEscape(id), "It is back.", false)
}

// ask asks a gateway for something and waits a while for its answer.
func (s *Server) ask(r *http.Request, fn func(t *mqtt.Turn, done func(*mqtt.Turn, error)) error) (text string, bad bool, err error) {
	answer := make(chan error, 1)
	wrong, err := s.mistake(r, func(t *mqtt.Turn) error {
		return fn(t, func(_ *mqtt.Turn, err error) { answer <- err })
	})
	if err != nil {
		return "", false, err
	}
	if wrong != nil {
		return upper(wrong.Error()) + ".", true, nil
	}
	patience := time.NewTimer(askWithin)
	defer patience.Stop()
	select {
	case err := <-answer:
		if err != nil {
			return "Zigbee2MQTT says: " + err.Error(), true, nil
		}
		return "Done.", false, nil
	case <-patience.C:
		return "Zigbee2MQTT has been asked and has not answered yet.", false, nil
	case <-r.Context().Done():
		return "", false, r.Context().Err()
	}
}

func (s *Server) showZigbee(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, view.ZigbeePage(s.page(r, "Zigbee", "settings"), s.Model.Gateways()))
}

func (s *Server) joinZigbee(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	seconds, err := strconv.Atoi(r.PostForm.Get("seconds"))
	if err != nil || seconds < 0 || seconds > 254 {
		return &failure{http.StatusUnprocessableEntity, "Devices may join for up to 254 seconds", "Nothing was changed."}
	}
	text, bad, err := s.ask(r, func(t *mqtt.Turn, done func(*mqtt.Turn, error)) error {
		return s.Model.PermitJoin(t, r.URL.Query().Get("base"), time.Duration(seconds)*time.Second, done)
	})
	if err != nil {
		return err
	}
	return s.done(w, r, "/zigbee", text, bad)
}

func (s *Server) renameZigbee(w http.ResponseWriter, r *http.Request) error {
	return s.askAbout(w, r, func(t *mqtt.Turn, id string, done func(*mqtt.Turn, error)) error {
		return s.Model.Rename(t, id, strings.TrimSpace(r.PostForm.Get("to")), done)
	})
}

func (s *Server) leaveZigbee(w http.ResponseWriter, r *http.Request) error {
	return s.askAbout(w, r, func(t *mqtt.Turn, id string, done func(*mqtt.Turn, error)) error {
		return s.Model.Remove(t, id, r.PostForm.Get("force") != "", done)
	})
}

// askAbout asks the gateway of a device for something.
func (s *Server) askAbout(w http.ResponseWriter, r *http.Request, fn func(t *mqtt.Turn, id string, done func(*mqtt.Turn, error)) error) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	id := r.PathValue("id")
	if s.Model.House().Device(id) == nil {
		return errNoDevice
	}
	text, bad, err := s.ask(r, func(t *mqtt.Turn, done func(*mqtt.Turn, error)) error { return fn(t, id, done) })
	if err != nil {
		return err
	}
	to := "/devices/" + url.PathEscape(id)
	if s.Model.House().Device(id) == nil {
		to = "/devices"
	}
	return s.done(w, r, to, text, bad)
}
