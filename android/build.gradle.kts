// The same versions as in app/pom.xml, by which the sources are tested without Gradle.
plugins {
    id("com.android.application") version "8.13.0" apply false
    id("org.jetbrains.kotlin.android") version "2.4.0" apply false
}
