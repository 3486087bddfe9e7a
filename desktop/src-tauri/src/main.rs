//! Osier's window: an unprivileged front end of the service, which it knows by the control API alone.
//!
//! This part is thin. It passes requests on ([`api`]), shows window and tray as the page says ([`window`], [`tray`]),
//! and does the few things that a page cannot ([`system`]). What a state is called and when is decided in the page's
//! `src/model/state.ts`.

// Windows would open a console beside the window.
#![cfg_attr(windows, windows_subsystem = "windows")]

mod api;
mod failure;
mod place;
mod system;
mod tray;
mod window;

use osier_control::client::Client;
use std::process::ExitCode;
use tauri::Manager;
use tauri_plugin_autostart::MacosLauncher;
use tauri_plugin_deep_link::DeepLinkExt;

fn main() -> ExitCode {
    let app = tauri::Builder::default()
        // First, as it asks: a second start only says what it was started with.
        .plugin(tauri_plugin_single_instance::init(|app, _, _| window::show(app)))
        .plugin(tauri_plugin_deep_link::init())
        .plugin(tauri_plugin_autostart::init(
            MacosLauncher::LaunchAgent,
            Some(vec![window::HIDDEN]),
        ))
        .manage(Client::at(place::control_socket()))
        .manage(api::Ping::default())
        .manage(window::Invite::default())
        .invoke_handler(tauri::generate_handler![
            api::service,
            api::status,
            api::peers,
            api::members,
            api::routes,
            api::topology,
            api::usage,
            api::diagnostics,
            api::bundle,
            api::switch,
            api::join,
            api::create_network,
            api::invite,
            api::leave,
            api::ping,
            api::ping_stop,
            api::trace,
            api::events,
            system::about,
            system::set_autostart,
            system::start_service,
            system::save,
            tray::show_tray,
            window::take_invite,
        ])
        .setup(|app| {
            let handle = app.handle().clone();
            app.deep_link().on_open_url(move |event| {
                window::opened(&handle, &event.urls());
            });
            if let Ok(Some(urls)) = app.deep_link().get_current() {
                window::opened(app.handle(), &urls);
            }
            window::create(app.handle())?;
            Ok(())
        })
        .on_window_event(|window, event| {
            if let tauri::WindowEvent::CloseRequested { api, .. } = event {
                api.prevent_close();
                window::closed(window.app_handle());
            }
        })
        .run(tauri::generate_context!());
    match app {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "osier-desktop: {error}");
            ExitCode::FAILURE
        }
    }
}
