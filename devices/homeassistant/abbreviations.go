package homeassistant

import "strings"

// abbreviations are the short keys of a discovery message and what they stand
// for (home-assistant/core, components/mqtt/abbreviations.py). Long and short
// keys may mix.
var abbreviations = expand(`
act_stat_t activity_state_topic
act_t action_topic
act_tpl action_template
act_val_tpl activity_value_template
atype automation_type
av_tones available_tones
avty availability
avty_mode availability_mode
avty_t availability_topic
avty_tpl availability_template
b_tpl blue_template
g_tpl green_template
r_tpl red_template
bri_scl brightness_scale
bat_lev_t battery_level_topic
bat_lev_tpl battery_level_template
bri_tpl brightness_template
clr_temp_k color_temp_kelvin
clr_temp_tpl color_temp_template
clrm color_mode
clrm_stat_t color_mode_state_topic
clrm_val_tpl color_mode_value_template
cmd_t command_topic
cmd_tpl command_template
cmd_on_tpl command_on_template
cmd_off_tpl command_off_template
cmps components
cod_arm_req code_arm_required
cod_dis_req code_disarm_required
cod_trig_req code_trigger_required
cod_form code_format
cont_type content_type
curr_hum_t current_humidity_topic
curr_hum_tpl current_humidity_template
curr_temp_t current_temperature_topic
curr_temp_tpl current_temperature_template
def_ent_id default_entity_id
dev device
dev_cla device_class
dir_cmd_t direction_command_topic
dock_cmd_t dock_command_topic
dock_cmd_tpl dock_command_template
dsp_prc display_precision
e encoding
en enabled_by_default
ent_cat entity_category
ent_pic entity_picture
evt_typ event_types
exp_aft expire_after
fan_spd_t fan_speed_topic
fan_spd_tpl fan_speed_template
fanspd_lst fan_speed_list
fanspd_t fan_speed_topic
fanspd_tpl fan_speed_template
flsh flash
flsh_tlng flash_time_long
flsh_tsht flash_time_short
frc_upd force_update
fx_list effect_list
fx_tpl effect_template
hum_cmd_t target_humidity_command_topic
hum_cmd_tpl target_humidity_command_template
hum_stat_t target_humidity_state_topic
hum_state_tpl target_humidity_state_template
ic icon
img_e image_encoding
img_t image_topic
init initial
json_attr json_attributes
json_attr_t json_attributes_topic
json_attr_tpl json_attributes_template
l_ver_t latest_version_topic
l_ver_tpl latest_version_template
lrst_t last_reset_topic
lrst_val_tpl last_reset_value_template
max_hum max_humidity
min_hum min_humidity
max_k max_kelvin
min_k min_kelvin
max_mirs max_mireds
min_mirs min_mireds
migr_discvry migrate_discovery
o origin
obj_id object_id
off_dly off_delay
on_cmd_type on_command_type
ops options
opt optimistic
p platform
pause_cmd_t pause_command_topic
pause_cmd_tpl pause_command_template
pause_mw_cmd_t pause_command_topic
pause_mw_cmd_tpl pause_command_template
pl payload
pl_arm_away payload_arm_away
pl_arm_custom_b payload_arm_custom_bypass
pl_arm_home payload_arm_home
pl_arm_nite payload_arm_night
pl_arm_vacation payload_arm_vacation
pl_avail payload_available
pl_cln_sp payload_clean_spot
pl_cls payload_close
pl_dir_fwd payload_direction_forward
pl_dir_rev payload_direction_reverse
pl_disarm payload_disarm
pl_hi_spd payload_high_speed
pl_home payload_home
pl_inst payload_install
pl_lo_spd payload_low_speed
pl_loc payload_locate
pl_lock payload_lock
pl_med_spd payload_medium_speed
pl_not_avail payload_not_available
pl_not_home payload_not_home
pl_off payload_off
pl_off_spd payload_off_speed
pl_on payload_on
pl_open payload_open
pl_osc_off payload_oscillation_off
pl_osc_on payload_oscillation_on
pl_paus payload_pause
pl_prs payload_press
pl_ret payload_return_to_base
pl_rst payload_reset
pl_rst_hum payload_reset_humidity
pl_rst_mode payload_reset_mode
pl_rst_pct payload_reset_percentage
pl_rst_pr_mode payload_reset_preset_mode
pl_stop payload_stop
pl_stop_tilt payload_stop_tilt
pl_stpa payload_start_pause
pl_strt payload_start
pl_toff payload_turn_off
pl_ton payload_turn_on
pl_trig payload_trigger
pl_unlk payload_unlock
pos reports_position
pos_clsd position_closed
pos_open position_open
pos_t position_topic
pos_tpl position_template
pow_cmd_t power_command_topic
pow_cmd_tpl power_command_template
pr_modes preset_modes
ptrn pattern
rel_s release_summary
rel_u release_url
ret retain
send_cmd_t send_command_topic
send_if_off send_if_off
set_fan_spd_t set_fan_speed_topic
set_pos_t set_position_topic
set_pos_tpl set_position_template
spd_cmd_t speed_command_topic
spd_rng_max speed_range_max
spd_rng_min speed_range_min
spd_stat_t speed_state_topic
spd_val_tpl speed_value_template
spds speeds
src_type source_type
stat_cla state_class
stat_closing state_closing
stat_clsd state_closed
stat_jam state_jammed
stat_locked state_locked
stat_locking state_locking
stat_off state_off
stat_on state_on
stat_open state_open
stat_opening state_opening
stat_stopped state_stopped
stat_unlocked state_unlocked
stat_unlocking state_unlocking
stat_t state_topic
stat_tpl state_template
stat_val_tpl state_value_template
strt_mw_cmd_t start_mowing_command_topic
strt_mw_cmd_tpl start_mowing_command_template
stype subtype
sug_dsp_prc suggested_display_precision
sup_clrm supported_color_modes
sup_dur support_duration
sup_duration support_duration
sup_feat supported_features
sup_vol support_volume_set
swing_h_mode_cmd_t swing_horizontal_mode_command_topic
swing_h_mode_cmd_tpl swing_horizontal_mode_command_template
swing_h_mode_stat_t swing_horizontal_mode_state_topic
swing_h_mode_stat_tpl swing_horizontal_mode_state_template
swing_h_modes swing_horizontal_modes
t topic
temp_unit temperature_unit
tilt_clsd_val tilt_closed_value
tilt_cmd_t tilt_command_topic
tilt_inv_stat tilt_invert_state
tilt_cmd_tpl tilt_command_template
tilt_opnd_val tilt_opened_value
tilt_opt tilt_optimistic
tilt_status_t tilt_status_topic
tilt_status_tpl tilt_status_template
tit title
trns transition
uniq_id unique_id
unit_of_meas unit_of_measurement
url_t url_topic
url_tpl url_template
val_tpl value_template
whit_cmd_t white_command_topic
whit_scl white_scale
whit_val_cmd_t white_value_command_topic
whit_val_scl white_value_scale
whit_val_stat_t white_value_state_topic
whit_val_tpl white_value_template
`, map[string]string{
	// families: X_cmd_t, X_cmd_tpl, X_stat_t and the named fourth
	"bri": "brightness value", "clr_temp": "color_temp value", "dir": "direction value",
	"fx": "effect value", "hs": "hs value", "xy": "xy value", "rgb": "rgb value",
	"rgbw": "rgbw value", "rgbww": "rgbww value", "osc": "oscillation value",
	"pct": "percentage value", "pr_mode": "preset_mode value",
	"mode": "mode state", "fan_mode": "fan_mode state", "swing_mode": "swing_mode state",
	"temp": "temperature state", "temp_hi": "temperature_high state",
	"temp_lo": "temperature_low state", "hold": "hold state", "aux": "aux state",
	"away_mode": "away_mode state", "pow": "power state",
})

// deviceAbbreviations are the short keys of a device block.
var deviceAbbreviations = expand(`
cu configuration_url
cns connections
ids identifiers
mf manufacturer
mdl model
mdl_id model_id
hw hw_version
sw sw_version
sa suggested_area
sn serial_number
`, nil)

func expand(table string, families map[string]string) map[string]string {
	m := make(map[string]string, 300)
	for short, rest := range families {
		long, template, _ := strings.Cut(rest, " ")
		m[short+"_cmd_t"] = long + "_command_topic"
		m[short+"_cmd_tpl"] = long + "_command_template"
		m[short+"_stat_t"] = long + "_state_topic"
		if template == "value" {
			m[short+"_val_tpl"] = long + "_value_template"
		} else {
			m[short+"_stat_tpl"] = long + "_state_template"
		}
	}
	for line := range strings.Lines(table) {
		if short, long, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			m[short] = long
		}
	}
	return m
}
