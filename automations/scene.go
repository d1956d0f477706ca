package automations

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// Limits of scenes.
const (
	MaxScenes        = 500
	MaxSceneEntities = 100 // of a scene
)

// A SceneAction remembers how entities are (Capture, Entities), or puts them
// back by commands (Apply).
type SceneAction struct {
	Capture  string   `json:"capture,omitempty"`
	Entities []string `json:"entities,omitempty"`
	Apply    string   `json:"apply,omitempty"`
}

// A SceneTrigger comes true when a scene is applied.
type SceneTrigger struct {
	ID string `json:"id"`
}

// A SceneKept is how entities were when a scene was captured. It is never
// changed.
type SceneKept struct {
	ID       string                      `json:"id"`
	By       string                      `json:"by"` // the rule that captured it
	At       time.Time                   `json:"at"`
	Entities map[string]map[string]Value `json:"entities"` // by entity, by aspect
}

type sceneRecord struct {
	Format int        `json:"v"`
	Scene  *SceneKept `json:"scene"`
}

// ErrNoScene tells that nothing was captured under an ID.
var ErrNoScene = errors.New("there is no such scene")

// Scenes returns the scenes that were captured, by ID.
func (e *Engine) Scenes() []*SceneKept {
	if list := e.scenesShown.Load(); list != nil {
		return *list
	}
	return nil
}

func (e *Engine) showScenes() {
	list := make([]*SceneKept, 0, len(e.scenes))
	for _, id := range slices.Sorted(maps.Keys(e.scenes)) {
		list = append(list, e.scenes[id])
	}
	e.scenesShown.Store(&list)
	e.revision.Add(1)
}

// capture remembers how entities are.
func (e *Engine) capture(t *mqtt.Turn, w *thread, a *SceneAction) error {
	h := e.house()
	if h == nil {
		return errors.New("there are no devices")
	}
	if e.scenes[a.Capture] == nil && len(e.scenes) >= MaxScenes {
		return fmt.Errorf("there are %d scenes, more are not possible", MaxScenes)
	}
	kept := &SceneKept{ID: a.Capture, By: w.rule.id, At: t.Now.Wall.Round(0), Entities: map[string]map[string]Value{}}
	for _, id := range a.Entities {
		entity := h.Entity(id)
		if entity == nil {
			continue
		}
		values := map[string]Value{}
		readings := entity.State().Readings
		for i := range entity.Aspects {
			aspect := &entity.Aspects[i]
			if i < len(readings) && readings[i].Value.Known() && !aspect.Secret && len(readings[i].Value.Str) <= MaxText {
				values[aspect.Name] = Value(readings[i].Value)
			}
		}
		if len(values) > 0 {
			kept.Entities[id] = values
		}
	}
	if len(kept.Entities) == 0 {
		return errors.New("nobody knows how these entities are")
	}
	record := encode(&sceneRecord{Format: format, Scene: kept})
	if len(record) > MaxSent {
		return fmt.Errorf("a scene has at most %d bytes", MaxSent)
	}
	if e.scenes == nil {
		e.scenes = map[string]*SceneKept{}
	}
	e.scenes[a.Capture] = kept
	e.write(t, key(recScene, a.Capture), record)
	w.durable = true
	e.showScenes()
	return nil
}

// ApplyScene puts entities back, as a person asked for it.
func (e *Engine) ApplyScene(t *mqtt.Turn, id string) error {
	e.enter(t)
	defer e.leave(t)
	return e.applyScene(t, nil, id)
}

// applyScene puts entities back, each in its turn: one that cannot be told does
// not keep the others from it. w is the run that does so, or nil.
func (e *Engine) applyScene(t *mqtt.Turn, w *thread, id string) error {
	s := e.scenes[id]
	if s == nil {
		return ErrNoScene
	}
	h := e.house()
	if h == nil {
		return errors.New("there are no devices")
	}
	var failed []error
	for _, entityID := range slices.Sorted(maps.Keys(s.Entities)) {
		entity := h.Entity(entityID)
		if entity == nil {
			failed = append(failed, fmt.Errorf("there is no %s", entityID))
			continue
		}
		for _, o := range ordersFor(entity, s.Entities[entityID]) {
			if _, err := e.tell(t, w, entityID, o.command, o.args, 0); err != nil {
				failed = append(failed, err)
			}
		}
	}
	by := (*link)(nil)
	if w != nil {
		by = w.link
	}
	for _, f := range e.index.Load().scenes[id] {
		e.later(f, Cause{Kind: ByScene, Topic: id}, by)
	}
	return errors.Join(failed...)
}

// An order is a command with what it is told.
type order struct {
	command string
	args    map[string]devices.Value
}

// ordersFor are the commands that make an entity what it was: whether it is on,
// with all that this command takes, and then what is set by itself.
func ordersFor(entity *devices.Entity, values map[string]Value) (list []order) {
	has := func(name string) *devices.Command {
		if i := slices.IndexFunc(entity.Commands, func(c devices.Command) bool { return c.Name == name }); i >= 0 {
			return &entity.Commands[i]
		}
		return nil
	}
	told := map[string]bool{}
	if on, known := values["on"]; known && on.Type == devices.Bool {
		if !on.Bool {
			if has("turn_off") != nil {
				list = append(list, order{"turn_off", nil})
			}
			return list
		}
		if c := has("turn_on"); c != nil {
			args := map[string]devices.Value{}
			for _, a := range c.Args {
				if v, known := values[a.Name]; known && !otherColor(a.Name, values) {
					args[a.Name], told[a.Name] = devices.Value(v), true
				}
			}
			list = append(list, order{"turn_on", args})
		}
	}
	for i := range entity.Commands {
		c := &entity.Commands[i]
		if len(c.Required) != 1 || told[c.Required[0]] || c.Name == "turn_on" {
			continue
		}
		if v, known := values[c.Required[0]]; known {
			told[c.Required[0]] = true
			list = append(list, order{c.Name, map[string]devices.Value{c.Required[0]: devices.Value(v)}})
		}
	}
	if told["position"] {
		return list
	}
	for state, command := range map[string]string{"open": "open", "closed": "close", "locked": "lock", "unlocked": "unlock"} {
		if values["state"] == Text(state) && has(command) != nil {
			list = append(list, order{command, nil})
		}
	}
	return list
}

// otherColor tells whether a light had its color in another way: what it
// reports of this one is what it would be, not what it was.
func otherColor(aspect string, values map[string]Value) bool {
	if aspect == "effect" {
		v := values[aspect].Str
		return v == "" || v == "none" || v == "off"
	}
	mode, known := values["color_mode"]
	if !known || aspect != "color" && aspect != "color_temp" {
		return aspect == "color_temp" && values["color"].known() && !known
	}
	return (mode == Text("color_temp")) != (aspect == "color_temp")
}
