package ui

import (
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"lar.home/ui/view"
)

// cookie is the name of what a browser shows to be known again.
const cookie = "lar"

// stays is how long a browser keeps it. The hub may end a sign-in sooner.
const stays = 400 * 24 * time.Hour

func (s *Server) visitor(r *http.Request) visitor {
	token, given := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !given || !isAPI(r) {
		c, err := r.Cookie(cookieFor(r))
		if err != nil {
			return visitor{}
		}
		token = c.Value
	}
	if token == "" {
		return visitor{}
	}
	p, ok := s.People.Who(token)
	if !ok {
		return visitor{}
	}
	return visitor{p, token}
}

// cookieFor is the name of the cookie. Over TLS it has one of its own, which a
// browser keeps from whoever answers in our place without TLS.
func cookieFor(r *http.Request) string {
	if r.TLS != nil {
		return "__Host-" + cookie
	}
	return cookie
}

func setCookie(w http.ResponseWriter, r *http.Request, token string) {
	c := &http.Cookie{
		Name:     cookieFor(r),
		Value:    token,
		Path:     "/",
		MaxAge:   int(stays / time.Second),
		HttpOnly: true,
		Secure:   r.TLS != nil,
		SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// mine tells whether an address is within the home's own network.
func mine(a netip.Addr) bool {
	return a.IsLoopback() || a.IsPrivate() || a.IsLinkLocalUnicast()
}

// plainHost tells whether a host name is one that only this network gives. It
// keeps a site elsewhere, whose name was made to point here, from using the
// browser of somebody at home for the first run.
func plainHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") {
		return true
	}
	for _, end := range []string{".local", ".lan", ".home", ".internal", ".home.arpa", ".fritz.box", ".localhost"} {
		if strings.HasSuffix(host, end) {
			return true
		}
	}
	return false
}

// mayStart says whether the first run can be done by this request.
func (s *Server) mayStart(r *http.Request) error {
	switch {
	case !mine(from(r)):
		return &failure{http.StatusForbidden, "The first start is done from home", "Open this page with a phone or computer in the same network as the hub."}
	case !plainHost(r.Host):
		return &failure{http.StatusForbidden, "The first start needs the hub's own address", "Open this page by the address that the hub printed when it started."}
	}
	return nil
}

func (s *Server) showSetup(w http.ResponseWriter, r *http.Request) error {
	if s.People.HasOwner() {
		http.Redirect(w, r, "/", http.StatusSeeOther)
		return nil
	}
	if err := s.mayStart(r); err != nil {
		return err
	}
	askPlace(w)
	return s.render(w, r, http.StatusOK, view.SetupPage(s.page(r, "Welcome", ""), view.Form{}))
}

func (s *Server) setup(w http.ResponseWriter, r *http.Request) error {
	if err := s.mayStart(r); err != nil {
		return err
	}
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	home, name := clean(f.Value("home")), clean(f.Value("name"))
	if home == "" {
		f.Errors["home"] = "Give your home a name."
	}
	if len([]rune(home)) > 64 {
		f.Errors["home"] = "That is too long: a name has at most 64 letters."
	}
	if name == "" {
		f.Errors["name"] = "Tell us your name."
	}
	var place Place
	readPlace(f, &place)
	if err := s.Settings.CheckPlace(place); err != nil && len(f.Errors) == 0 {
		if wrong, is := errors.AsType[*SettingError](err); is {
			f.Errors[wrong.Field] = wrong.Text
		}
	}
	if len(f.Errors) == 0 {
		token, err := s.People.FirstRun(r.Context(), home, name, f.Value("password"))
		if err == nil {
			if _, err := s.setPlace(r, f); err != nil { // it can be set later
				s.Log.Error("the home's place was not stored", "err", err)
			}
			setCookie(w, r, token)
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return nil
		}
		if errors.Is(err, ErrOwnerExists) {
			return &failure{http.StatusConflict, "This home already has an owner", "Somebody was faster. Ask them to let you in."}
		}
		if err := explain(f, err); err != nil {
			return err
		}
	}
	askPlace(w)
	return s.render(w, r, http.StatusUnprocessableEntity, view.SetupPage(s.page(r, "Welcome", ""), f))
}

func (s *Server) showLogin(w http.ResponseWriter, r *http.Request) error {
	if !s.People.HasOwner() {
		http.Redirect(w, r, "/setup", http.StatusSeeOther)
		return nil
	}
	next := local(r.URL.Query().Get("next"), "/")
	if who(r).ID != "" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return nil
	}
	return s.render(w, r, http.StatusOK, view.LoginPage(s.page(r, "Sign in", ""), view.Form{Values: url.Values{"next": {next}}}))
}

func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	token, err := s.People.SignIn(r.Context(), clean(f.Value("name")), f.Value("password"), from(r))
	if err == nil {
		setCookie(w, r, token)
		http.Redirect(w, r, local(f.Value("next"), "/"), http.StatusSeeOther)
		return nil
	}
	if err := explain(f, err); err != nil {
		return err
	}
	status := http.StatusUnprocessableEntity
	if errors.Is(err, ErrTooManyTries) {
		status = http.StatusTooManyRequests
	}
	return s.render(w, r, status, view.LoginPage(s.page(r, "Sign in", ""), f))
}

func (s *Server) logout(w http.ResponseWriter, r *http.Request) error {
	token := who(r).token
	if err := s.People.SignOut(r.Context(), token); err != nil {
		return err
	}
	s.live.signedOut(token)
	s.takeNotice(token)
	setCookie(w, r, "")
	http.Redirect(w, r, "/login", http.StatusSeeOther)
	return nil
}

// explain puts an error of People at the field it is about, and returns it
// when it is none that a person can mend.
func explain(f view.Form, err error) error {
	for _, e := range []struct {
		err   error
		field string
		words string
	}{
		{ErrWrongPassword, "", "The name or the password is wrong."},
		{ErrTooManyTries, "", "Too many tries. Wait a minute, then try again."},
		{ErrShortPassword, "password", "Too short: a password has at least 8 characters."},
		{ErrNameTaken, "name", "That name is taken."},
		{ErrBadName, "name", "A name has 1 to 64 letters, digits, spaces or . - _"},
	} {
		if errors.Is(err, e.err) {
			f.Errors[e.field] = e.words
			return nil
		}
	}
	return err
}

// clean takes blanks off the ends of what somebody typed, and makes one of
// several within.
func clean(s string) string { return strings.Join(strings.Fields(s), " ") }

// readError is what a form that cannot be read amounts to.
func readError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return errForm
}

var roles = map[Role]string{
	Owner: "Owner of this home",
	Adult: "May see, operate and change everything but people and credentials",
	Child: "May see and operate",
	Guest: "May see and operate",
}

func (s *Server) showSettings(w http.ResponseWriter, r *http.Request) error {
	return s.settings(w, r, http.StatusOK, view.Form{})
}

func (s *Server) settings(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	v := view.Settings{
		Role:    roles[who(r).Role],
		MQTT:    s.addresses("mqtt"),
		Web:     s.addresses("web"),
		Version: s.Version,
		Place:   s.placeWords(),
	}
	if who(r).may(administer) {
		for _, c := range s.People.Credentials() {
			v.Credentials = append(v.Credentials, view.Credential(c))
		}
		if s.Disk != nil {
			v.Disk = diskFacts(s.Disk(), time.Now())
		}
	}
	return s.render(w, r, status, view.SettingsPage(s.page(r, "Settings", "settings"), v, f))
}

func (s *Server) addCredential(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	name := clean(f.Value("credential"))
	password, err := s.People.AddCredential(r.Context(), name)
	switch {
	case errors.Is(err, ErrNameTaken):
		f.Errors["credential"] = "There is a credential of that name. Remove it first, or choose another name."
	case errors.Is(err, ErrBadName):
		f.Errors["credential"] = "A name has 1 to 64 letters, digits, spaces or . - _"
	case err != nil:
		return err
	default:
		w.Header().Set("Cache-Control", "no-store")
		p := s.page(r, "New credential", "settings")
		return s.render(w, r, http.StatusOK, view.CredentialPage(p, name, password, s.addresses("mqtt")))
	}
	return s.settings(w, r, http.StatusUnprocessableEntity, f)
}

func (s *Server) removeCredential(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	name := r.PostForm.Get("name")
	err := s.People.RemoveCredential(r.Context(), name)
	if err != nil && !errors.Is(err, ErrNoCredential) { // pressed twice
		return err
	}
	return s.done(w, r, "/settings#credentials", "The credential "+name+" was removed.", false)
}

// damageSeen ends the notice of what was set aside.
func (s *Server) damageSeen(w http.ResponseWriter, r *http.Request) error {
	if s.Seen == nil {
		return errNoPage
	}
	if err := s.Seen(); err != nil {
		return err
	}
	return s.done(w, r, "/settings", "The notice is gone. What was set aside stays where it is.", false)
}

// troubles says what is wrong with the data folder.
func troubles(d Disk) (list []view.Trouble) {
	if d.Resting != "" {
		list = append(list, view.Trouble{Title: "Devices and automations rest.",
			Text: "What comes from devices is not taken in, and no automation runs: " + d.Resting + ". Clients go on being served. Please report it, with the log; a restart of the hub ends the rest at once."})
	}
	if len(d.Messages) > 0 {
		list = append(list, view.Trouble{Title: "Something went wrong inside Lar.", Dismiss: "/settings/damage",
			Text: "Whoever published it was told that it has arrived, but devices, automations or pages may not have made of it what they should. The rest goes on: devices and automations have begun anew from what is on disk, without it. " +
				"What it was about is kept in " + strings.Join(d.Messages, ", ") + ": please report it, with the log."})
	}
	if len(d.SetAside) > 0 {
		text := "What could be read is in use. "
		if d.Lost == 0 {
			text += "Nothing seems to be missing. "
		} else {
			text += "Some of it could not be read: messages, last values or the record of past runs may be missing. "
		}
		if d.Restored > 0 {
			text += "Automations, names and rooms that were lost came back from the copy beside the data. "
		}
		text += "The damaged data is kept in " + strings.Join(d.SetAside, ", ") +
			". This often means that the SD card or disk wears out: make a copy of the data folder, and think of a new one."
		list = append(list, view.Trouble{Title: "The stored data was damaged.", Text: text, Dismiss: "/settings/damage"})
	} else if d.Lost > 0 {
		text := "What can be read is in use; messages, last values or the record of past runs may be missing. "
		if d.Restored > 0 {
			text += "Automations, names and rooms that were lost came back from the copy beside the data. "
		}
		list = append(list, view.Trouble{Title: "Some of the stored data cannot be read.", Text: text + "Make a copy of the data folder."})
	}
	if d.Damaged > 0 {
		list = append(list, view.Trouble{Title: "Some stored data is damaged.",
			Text: "Records that could not be read since the hub started: " + strconv.FormatUint(d.Damaged, 10) + ". They are left out; the log names them."})
	}
	switch {
	case d.Unwritable:
		list = append(list, view.Trouble{Title: "Nothing new can be kept now.",
			Text: "The reason: " + d.Refusing + ". What was stored is in use, and messages that need not be kept go on; devices are refused what would have to be kept, and changes are not possible. " +
				"A disk becomes read-only when it is failing: make a copy of the data folder, and think of a new SD card or disk. When the folder can be written again, this ends by itself or with a new start."})
	case d.Refusing != "":
		list = append(list, view.Trouble{Title: "Nothing new can be kept now.",
			Text: "The reason: " + d.Refusing + ". Devices are refused what would have to be kept; all else goes on, and this ends by itself when the disk has room and answers."})
	case d.Low:
		list = append(list, view.Trouble{Title: "The disk is nearly full.",
			Text: view.Size(d.Free) + " are free. With less than 64 MB, nothing new can be kept."})
	}
	return list
}

// diskFacts says how much is written: an SD card wears out by it.
func diskFacts(d Disk, now time.Time) (facts []view.Fact) {
	add := func(name, text string) { facts = append(facts, view.Fact{Name: name, Text: text}) }
	up := now.Sub(d.Since)
	if d.Written > 0 && up > 0 {
		add("Written since the start", view.Size(d.Written)+" in "+view.Span(max(up.Round(time.Second), time.Second)))
		if up >= time.Hour {
			add("In a day, at this rate", view.Size(uint64(float64(d.Written)*(24*time.Hour).Hours()/up.Hours())))
		}
		if d.Turns > 0 {
			add("For each change that is kept", view.Size(d.Written/d.Turns))
		}
	}
	if d.Free > 0 {
		add("Free", view.Size(d.Free))
	}
	return facts
}
