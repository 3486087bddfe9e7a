import { App } from './app'
import { devices } from './screens/devices'
import { diagnostics } from './screens/diagnostics'
import { home } from './screens/home'
import { join } from './screens/join'
import { settings } from './screens/settings'
import { topology } from './screens/topology'
import { usage } from './screens/usage'
import './styles/colours.css'
import './styles/base.css'
import './styles/frame.css'
import './styles/pieces.css'
import './styles/screens.css'
import './styles/devices.css'
import './styles/narrow.css'
import { language } from './texts'
import { runTray } from './tray'
import { Frame } from './ui/frame'
import { applyTheme, savedTheme } from './ui/theme'

document.documentElement.lang = language
applyTheme(savedTheme())
const app = new App()
new Frame(app, {
  home: home(app),
  join: join(app),
  devices: devices(app),
  topology: topology(app),
  usage: usage(app),
  diagnostics: diagnostics(),
  settings: settings(app),
})
runTray(app)
app.start()
