package ui

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

func (s *Server) hint(v visitor) view.Hint {
	return view.Hint{Addresses: s.addresses("mqtt"), Manage: v.may(administer)}
}

func (s *Server) showHome(w http.ResponseWriter, r *http.Request) error {
	p := s.page(r, "", "home")
	s.follow(&p, "home")
	return s.render(w, r, http.StatusOK, view.HomePage(p, view.Home(s.Model.House(), maxRows), s.hint(who(r))))
}

func (s *Server) showDevices(w http.ResponseWriter, r *http.Request) error {
	p := s.page(r, "Devices", "devices")
	q := clean(r.URL.Query().Get("q"))
	scope := "devices"
	if q != "" {
		scope = "found" // values stay up to date, the selection does not
	}
	s.follow(&p, scope)
	list, total := find(s.Model.House(), q)
	return s.render(w, r, http.StatusOK, view.DevicesPage(p, list, q, total, s.hint(who(r))))
}

// find returns the devices whose name, room or maker hold all words of q, at
// most as many as one page shows, and how many devices there are in all.
func find(h *devices.House, q string) (list []*devices.Device, total int) {
	words := strings.Fields(strings.ToLower(q))
	for _, d := range h.Devices {
		text := strings.ToLower(d.Name + " " + d.Area + " " + d.Manufacturer + " " + d.Model)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
			if list = append(list, d); len(list) == maxRows {
				break
			}
		}
	}
	return list, len(h.Devices)
}

func (s *Server) showDevice(w http.ResponseWriter, r *http.Request) error {
	return s.device(w, r, http.StatusOK, nil)
}

// device shows a device's page, with what is wrong with its form.
func (s *Server) device(w http.ResponseWriter, r *http.Request, status int, wrong map[string]string) error {
	p := s.page(r, "", "devices")
	s.follow(&p, "device:"+r.PathValue("id"))
	h := s.Model.House()
	d := h.Device(r.PathValue("id"))
	if d == nil {
		return errNoDevice
	}
	p.Title = d.Name
	f := view.Form{Values: map[string][]string{"name": {d.Name}, "room": {d.Area}, "icon": {d.Personal.Icon}, "notes": {d.Personal.Notes}}, Errors: wrong}
	if d.Personal.Favourite {
		f.Values.Set("favourite", "yes")
	}
	if d.Personal.Hidden {
		f.Values.Set("hidden", "yes")
	}
	if len(wrong) > 0 {
		f.Values = r.PostForm
	}
	past, err := s.past(r, d)
	if err != nil {
		return err
	}
	return s.render(w, r, status, view.DevicePage(p, d, past, s.about(h, d), view.RoomsOf(h), f))
}

// about returns what a device says of itself.
func (s *Server) about(h *devices.House, d *devices.Device) []view.Fact {
	var facts []view.Fact
	add := func(name, text, url string) {
		if text != "" {
			facts = append(facts, view.Fact{Name: name, Text: text, URL: url})
		}
	}
	add("Maker", d.Manufacturer, "")
	add("Model", d.Model, "")
	add("Firmware", d.SWVersion, "")
	add("Hardware", d.HWVersion, "")
	add("Serial number", d.Serial, "")
	if via := h.Device(d.Via); via != nil {
		add("Connected through", via.Name, "/devices/"+via.ID)
	}
	if strings.HasPrefix(d.ConfigURL, "http://") || strings.HasPrefix(d.ConfigURL, "https://") {
		add("Its own page", d.ConfigURL, d.ConfigURL)
	}
	add("Notes", d.Personal.Notes, "")
	for _, f := range view.Health(d, time.Now()) {
		add(f.Name, f.Text, "")
	}
	if seen := d.Seen(); !seen.IsZero() {
		facts = append(facts, view.Fact{Name: "Last heard", Text: view.Ago(time.Now(), seen), At: seen})
	}
	source := d.Source
	if source == "homeassistant" {
		source = "Home Assistant discovery"
	}
	add("Found by", source, "")
	add("Entities", strconv.Itoa(len(d.Entities)), "")
	return facts
}

func (s *Server) editDevice(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	id := r.PathValue("id")
	d := s.Model.House().Device(id)
	if d == nil {
		return errNoDevice
	}
	name, room := clean(r.PostForm.Get("name")), clean(r.PostForm.Get("room"))
	wrong := map[string]string{}
	if len([]rune(name)) > 64 {
		wrong["name"] = "That is too long: a name has at most 64 letters."
	}
	if len([]rune(room)) > 64 {
		wrong["room"] = "That is too long: a name has at most 64 letters."
	}
	if len(wrong) > 0 {
		return s.device(w, r, http.StatusUnprocessableEntity, wrong)
	}
	to := d.Personal
	if name != d.Name {
		to.Name = name
	}
	if room != d.Area {
		to.Area = room
	}
	to.Icon = r.PostForm.Get("icon")
	to.Notes = strings.ReplaceAll(r.PostForm.Get("notes"), "\r\n", "\n")
	to.Favourite, to.Hidden = r.PostForm.Get("favourite") != "", r.PostForm.Get("hidden") != ""
	mistake, err := s.mistake(r, func(t *mqtt.Turn) error { return s.Model.SetDevice(t, id, to) })
	if err != nil {
		return err
	}
	if mistake != nil {
		return s.device(w, r, http.StatusUnprocessableEntity, map[string]string{"": upper(mistake.Error()) + "."})
	}
	return s.done(w, r, r.URL.EscapedPath(), "Saved.", false)
}

// do gives a command to an entity. A form is sent back to its page; a script
// is told that the command is on its way, and hears of what comes of it by the
// entity's state.
func (s *Server) do(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	e := s.Model.House().Entity(r.PathValue("entity"))
	if e == nil {
		return errNoDevice
	}
	name := r.PostForm.Get("command")
	if name == "toggle" && view.CanSwitch(e) { // decided here: a repeat does no harm
		name = "turn_on"
		if on, _ := view.Reading(e, e.State(), "on"); on.Value.Bool {
			name = "turn_off"
		}
	}
	c, ok := view.Command(e, name)
	if !ok {
		return &failure{http.StatusUnprocessableEntity, e.Name + " cannot do that", "Nothing was changed."}
	}
	args, err := arguments(c, r.PostForm.Get)
	if err != nil {
		return &failure{http.StatusUnprocessableEntity, e.Name + ": " + err.Error(), "Nothing was changed."}
	}
	s.live.hurry(e.ID)
	ctx, cancel := context.WithTimeout(r.Context(), commandTimeout)
	defer cancel()
	if err := s.House.Do(ctx, func(t *mqtt.Turn) error { return s.Model.Command(t, e.ID, name, args) }); err != nil {
		s.Log.Warn("command not given", "entity", e.ID, "command", name, "err", err)
		return &failure{http.StatusServiceUnavailable, e.Name + " could not be told", "The hub could not send the command. Try again."}
	}
	if cmd := r.PostForm.Get("cmd"); cmd != "" && len(cmd) <= 32 {
		s.live.await(&awaited{who(r).token, cmd, e.ID, wanted(name, args), time.Now().Add(commandTimeout)})
	}
	if wantsJSON(r) {
		s.answer(w, http.StatusAccepted, map[string]any{"ok": true, "cmd": r.PostForm.Get("cmd")})
		return nil
	}
	http.Redirect(w, r, here(r, "/"), http.StatusSeeOther)
	return nil
}

// arguments reads the arguments of a command from the fields of a form.
func arguments(c devices.Command, field func(string) string) (map[string]devices.Value, error) {
	args := map[string]devices.Value{}
	for _, a := range c.Args {
		text := strings.TrimSpace(field(a.Name))
		if text == "" {
			if slices.Contains(c.Required, a.Name) {
				return nil, errors.New(strings.ToLower(view.Label(a.Name)) + " is missing")
			}
			continue
		}
		v, err := value(a, text)
		if err != nil {
			return nil, errors.New(strings.ToLower(view.Label(a.Name)) + " " + err.Error())
		}
		args[a.Name] = v
	}
	return args, nil
}

// value reads what was typed for an aspect.
func value(a devices.Aspect, text string) (devices.Value, error) {
	switch a.Type {
	case devices.Bool:
		return devices.BoolValue(text == "on" || text == "true" || text == "1"), nil
	case devices.Number:
		f, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
		if err != nil || f != f {
			return devices.Value{}, errors.New("is not a number")
		}
		if a.Min < a.Max && (f < a.Min || f > a.Max) {
			return devices.Value{}, errors.New("is not between " + view.Number(a.Min, -1) + " and " + view.Number(a.Max, -1))
		}
		return devices.NumberValue(f), nil
	case devices.Enum:
		if !slices.Contains(a.Options, text) {
			return devices.Value{}, errors.New("cannot be " + strconv.Quote(text))
		}
	case devices.Color:
		if !isColor(text) {
			return devices.Value{}, errors.New("is not a colour")
		}
	}
	if len(text) > 255 {
		return devices.Value{}, errors.New("is too long")
	}
	return devices.TextValue(text), nil
}

func isColor(s string) bool {
	if len(s) != 7 || s[0] != '#' {
		return false
	}
	_, err := strconv.ParseUint(s[1:], 16, 32)
	return err == nil
}
